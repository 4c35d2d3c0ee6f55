"""ReLU + L1 (Bricken et al. 2023, "Towards monosemanticity", as updated by Conerly et al. 2024, "Circuits updates -
April 2024: Update on how we train SAEs", transformer-circuits.pub).

Loss: sum ||x - x_hat||^2 + coefficient * sum over latents of activation * ||decoder row||. Decoder rows may have any
norm; with the norm in the penalty, larger rows and smaller activations do not reduce it. Initialisation: decoder rows
in random directions with norm 0.1, encoder their transpose, encoder bias 0. No AuxK, no resampling. The saved SAE has
unit decoder rows; their norms are moved into encoder row and bias, which changes no output.

Differences from the source:

- `k` is the mean number of latents that fire; a controller of the coefficient holds it
  (`sparsity_controller.SparsityController`). The source has a fixed coefficient with a linear warm-up.
- The decoder bias starts at the first batch's mean and is subtracted from the input.
- The learning rate follows `TrainSettings.rate`.
- Gradients are not clipped.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.normalisation import unit_decoder
from sae_stability.sae.training.steps.penalised import PenalisedStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations

INITIAL_NORM = 0.1  # norm of decoder rows before the first step


class ReLUStep(PenalisedStep):
    """Step of a ReLU SAE. Decoder rows may have any norm."""

    unit_decoder = False

    def initial_parameters(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Decoder rows of norm 0.1, and an encoder equal to the decoder."""
        decoder = weights["decoder"] * weights["decoder"].dtype.type(INITIAL_NORM)
        return weights | {"encoder": decoder, "decoder": decoder}

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """The positive pre-activations."""
        return self.operations.above(pre, torch.zeros_like(self.parameters["encoder_bias"]))

    def before_loss(self, variance: float, n_values: int) -> None:
        """Set the coefficient and the norms of the decoder rows."""
        super().before_loss(variance, n_values)
        self.norms = self.parameters["decoder"].norm(dim=1)

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error and sparsity penalty. `update` adds the penalty's gradient for the decoder, from `total`."""
        value = entries.pre
        error, fvu, through_pre = self.reconstruct(entries, value, inputs, variance)
        through_pre = entries.masked(through_pre.add_(entries.per_entry(self.coefficient * self.norms)))
        gradients, sums = self.linear_gradients(entries, inputs, error, value, through_pre, variance)
        gradients |= {"encoder_bias": sums, "total": entries.sums(value)}
        return Loss(fvu, error, entries.count(value > 0), gradients, sums)

    def update(self, gradients: dict[str, torch.Tensor], rate: float) -> None:
        """Add the penalty's gradient for the decoder, then take the Adam step."""
        share = self.coefficient * gradients.pop("total") / self.norms.clamp(min=1e-30)
        gradients["decoder"].addcmul_(share[:, None], self.parameters["decoder"])
        super().update(gradients, rate)

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters, with unit decoder rows."""
        return unit_decoder(super().weights())


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> ReLUStep:
    """Make the training step of one SAE, on CPU or CUDA kernels or plain torch operations."""
    return ReLUStep(weights, settings, normalisation, make_operations(device, workers))
