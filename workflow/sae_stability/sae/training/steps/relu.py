"""ReLU + L1 (Bricken et al. 2023, "Towards monosemanticity", as updated by Conerly et al. 2024, "Circuits updates -
April 2024: Update on how we train SAEs", transformer-circuits.pub).

Loss: sum ||x - x_hat||^2 + coefficient * sum over latents of activation * ||decoder row||. Decoder rows are free; their
norm in the penalty keeps scaling from cheating it. Initialisation: decoder rows in random directions with norm 0.1,
encoder their transpose, encoder bias 0. No AuxK, no resampling. The saved SAE has unit decoder rows, the norm moved
into encoder row and bias, which changes no output.

Differences from the source: `k` is the mean number of latents that fire, held by a controller of the coefficient
(`sparsity_controller.SparsityController`), where the source has a fixed coefficient with a linear warm-up; the decoder
bias starts at the first batch's mean and is subtracted from the input; the learning rate follows this trainer's
schedule; gradients are not clipped.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.normalisation import unit_decoder
from sae_stability.sae.training.steps.penalised import PenalisedStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations

NORM = 0.1  # of decoder rows before the first step


class ReLUStep(PenalisedStep):
    """Decoder rows are free."""

    unit_decoder = False

    def initial(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Decoder rows of norm 0.1, the encoder equal to them."""
        decoder = weights["decoder"] * weights["decoder"].dtype.type(NORM)
        return weights | {"encoder": decoder, "decoder": decoder}

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """Every positive pre-activation."""
        return self.operations.above(pre, torch.zeros_like(self.parameters["encoder_bias"]))

    def before(self, variance: float, numbers: int) -> None:
        """The coefficient and the decoder rows' norms."""
        super().before(variance, numbers)
        self.norms = self.parameters["decoder"].norm(dim=1)

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error and the penalty, whose gradient for the decoder waits for each latent's `total`."""
        value = entries.pre
        error, fvu, through_pre = self.reconstruct(entries, value, inputs, variance)
        through_pre = entries.only(through_pre.add_(entries.at(self.coefficient * self.norms)))
        gradients, sums = self.linear_gradients(entries, inputs, error, value, through_pre, variance)
        gradients |= {"encoder_bias": sums, "total": entries.sums(value)}
        return Loss(fvu, error, entries.count(value > 0), gradients, sums)

    def update(self, gradients: dict[str, torch.Tensor], rate: float) -> None:
        """Add the penalty's gradient for the decoder, then as ever."""
        share = self.coefficient * gradients.pop("total") / self.norms.clamp(min=1e-30)
        gradients["decoder"].addcmul_(share[:, None], self.parameters["decoder"])
        super().update(gradients, rate)

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters, with unit decoder rows."""
        return unit_decoder(super().weights())


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> ReLUStep:
    """An SAE in training."""
    return ReLUStep(weights, settings, normalisation, make_operations(device, workers))
