"""JumpReLU (Rajamanoharan et al. 2024, "Jumping ahead: improving reconstruction fidelity with JumpReLU sparse
autoencoders", arXiv 2407.14435).

A latent is its pre-activation if this is above the latent's threshold, else 0. Loss: sum ||x - x_hat||^2 +
coefficient * number of latents that fire. Thresholds are trained with straight-through gradients: within bandwidth/2 of
the threshold (the rectangle kernel), the derivative by the threshold is -1/bandwidth for 1[pre > threshold], and
-threshold/bandwidth for pre * 1[pre > threshold]. The penalty has no gradient for other parameters. Initialisation:
decoder rows uniform with norm 1, encoder their transpose (here: rescaled, as for TopK), biases 0, thresholds 0.001.
Decoder rows are held at norm 1. No AuxK, no resampling.

The paper normalises activations to a root mean square norm of 1. Here `bandwidth` and the initial threshold are
multiplied by sqrt(d_model) instead, which is the mean norm under `centre-scale`.

Differences from the source:

- `k` is the mean number of latents that fire. It is held by a controller of the coefficient
  (`sparsity_controller.SparsityController`), and by a common factor on all thresholds, whose influence grows as the
  learning rate falls. Without the factor, L0 ends some percent below k.
- The thresholds themselves are trained, and kept at 0 or above. The paper's code trains their logarithms, which move
  too slowly away from 0.001 in trainings of less than a few hundred thousand steps.
- The decoder bias starts at the first batch's mean.
- Adam's first beta is 0.9, not 0.
- The kernel leaves out pre-activations of 0 and below.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.sparsity_controller import HIGHEST
from sae_stability.sae.training.steps.penalised import PenalisedStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations

DEFAULT_BANDWIDTH = 0.001  # default of the setting `bandwidth`
INITIAL_THRESHOLD = 0.001  # before the first step, in units of sqrt(d_model)
THRESHOLD_POWER = 0.05  # in each of the last steps, thresholds are multiplied by (L0 / k) to this power


class JumpReLUStep(PenalisedStep):
    """Step of a JumpReLU SAE. `threshold` is a trained parameter."""

    power = 2
    start = 0.005
    # Thresholds that are too high hardly fall by themselves, since silent latents have no gradient from the squared
    # error. So the coefficient must turn negative as soon as L0 is a few percent too low.
    proportional = 40.0

    def initial_parameters(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Add thresholds of 0.001 sqrt(d_model)."""
        unit = weights["encoder"].shape[1] ** 0.5
        self.bandwidth = (self.settings.bandwidth or DEFAULT_BANDWIDTH) * unit
        return weights | {"threshold": np.full(self.settings.n_latents, INITIAL_THRESHOLD * unit)}

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """The latents that fire or are within the kernel's width."""
        threshold = self.parameters["threshold"]
        return self.operations.above(pre, (threshold - self.bandwidth / 2).clamp_(min=0))

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error and sparsity penalty."""
        threshold = entries.per_entry(self.parameters["threshold"])
        fires = entries.pre > threshold
        value = entries.pre * fires
        error, fvu, through_value = self.reconstruct(entries, value, inputs, variance)
        near = (entries.pre - threshold).abs_() < self.bandwidth / 2
        cost = (through_value * threshold).add_(self.coefficient).mul_(-1 / self.bandwidth)
        through_threshold = entries.masked(cost.mul_(near))
        gradients, sums = self.linear_gradients(entries, inputs, error, value, through_value.mul_(fires), variance)
        gradients |= {"encoder_bias": sums, "threshold": entries.sums(through_threshold)}
        return Loss(fvu, error, entries.count(fires), gradients, sums)

    def after_update(self, l0: float, rate: float) -> None:
        """Update the coefficient, scale the thresholds by the error of L0, and keep them at 0 or above."""
        super().after_update(l0, rate)
        settings, threshold = self.settings, self.parameters["threshold"]
        if rate and self.steps > settings.warmup_steps:
            ratio = min(max(l0 / settings.k, 1 / HIGHEST), HIGHEST)
            threshold *= ratio ** (THRESHOLD_POWER * max(0.0, 1 - rate / settings.peak_learning_rate))
        threshold.clamp_(min=0)


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> JumpReLUStep:
    """Make the training step of one SAE, on CPU or CUDA kernels or plain torch operations."""
    return JumpReLUStep(weights, settings, normalisation, make_operations(device, workers))
