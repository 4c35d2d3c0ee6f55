"""Gated SAE (Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders",
arXiv 2404.16014).

With h = encoder (x - decoder_bias), gate = h + encoder_bias and magnitude = exp(magnitude_scale) * h + magnitude_bias,
a latent is ReLU(magnitude) if its gate is above 0, else 0. Loss: sum ||x - x_hat||^2 + coefficient * sum ReLU(gate) +
sum ||x - x_gate||^2, where x_gate is ReLU(gate) decoded by a frozen copy of the decoder. Initialisation: decoder rows
uniform with norm 1, encoder their transpose (here: rescaled, as for TopK), scale and biases 0. Decoder rows are held at
norm 1. No AuxK. Dead latents are resampled a few times in the first half of a training (Bricken et al. 2023; see
`resampling`).

Differences from the source:

- `k` is the mean number of latents that fire; a controller of the coefficient holds it
  (`sparsity_controller.SparsityController`).
- The decoder bias starts at the first batch's mean.
- Adam's first beta is 0.9, not 0.
- Dead latents are resampled at other steps, from other inputs and with another bias, and the learning rate does not
  warm up again; see `resampling`.
"""

import numpy as np
import torch

from sae_stability.sae.training import resampling
from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.steps.penalised import PenalisedStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations


class GatedStep(PenalisedStep):
    """Step of a Gated SAE. `encoder_bias` is the bias of the gate."""

    def initial_parameters(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Add scale and bias of the magnitude, both 0."""
        zeros = np.zeros(self.settings.n_latents, np.float32)
        return weights | {"magnitude_scale": zeros, "magnitude_bias": zeros}

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """The latents whose gate is above 0."""
        return self.operations.above(pre, torch.zeros_like(self.parameters["encoder_bias"]))

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error, sparsity penalty, and squared error of the gate's reconstruction."""
        p, gate = self.parameters, entries.pre
        factor = entries.per_entry(p["magnitude_scale"].exp())
        scaled = (gate - entries.per_entry(p["encoder_bias"])).mul_(factor)
        value = entries.masked((scaled + entries.per_entry(p["magnitude_bias"])).relu_())
        error, fvu, through_value = self.reconstruct(entries, value, inputs, variance)
        fires = value > 0
        through_magnitude = through_value.mul_(fires)
        _, _, through_gate = self.reconstruct(entries, gate, inputs, variance)
        through_gate = entries.masked(through_gate.add_(self.coefficient))
        gate_sums, magnitude_sums = entries.sums(through_gate), entries.sums(through_magnitude)
        scale_sums = entries.sums(scaled.mul_(through_magnitude))
        through_product = through_gate.add_(through_magnitude.mul_(factor))
        gradients, sums = self.linear_gradients(entries, inputs, error, value, through_product, variance)
        gradients |= {"encoder_bias": gate_sums, "magnitude_bias": magnitude_sums, "magnitude_scale": scale_sums}
        return Loss(fvu, error, entries.count(fires), gradients, sums)

    def revive(self, inputs: torch.Tensor, error: torch.Tensor) -> None:
        """Resample dead latents at the steps that `resampling` names; under a control, which holds rows, none."""
        if self.settings.control is None and resampling.is_due(self.steps, self.settings.total_steps):
            resampling.resample(self, inputs, error)


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> GatedStep:
    """Make the training step of one SAE, on CPU or CUDA kernels or plain torch operations."""
    return GatedStep(weights, settings, normalisation, make_operations(device, workers))
