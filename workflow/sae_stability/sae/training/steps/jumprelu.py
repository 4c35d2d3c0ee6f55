"""JumpReLU (Rajamanoharan et al. 2024, "Jumping ahead: improving reconstruction fidelity with JumpReLU sparse
autoencoders", arXiv 2407.14435).

A latent is its pre-activation where that is above the latent's threshold, else 0. Loss: sum ||x - x_hat||^2 +
coefficient * the number of latents that fire. Thresholds get gradients straight through: the derivative of the step
1[pre > threshold] is taken as -1/bandwidth within bandwidth/2 of the threshold (the rectangle kernel), that of
pre * 1[pre > threshold] as -threshold/bandwidth there; no other parameter feels the penalty. Initialisation: decoder
rows uniform with norm 1, encoder their transpose (here: rescaled, as for TopK), biases 0, thresholds 0.001. Decoder
rows are held at norm 1. No AuxK, no resampling.

The paper's unit is the root mean square norm of the activations, so `bandwidth` and the first threshold are multiplied
by sqrt(d_model), which is the mean norm under `centre-scale`.

Differences from the source:

- `k` is the mean number of latents that fire, held by a controller of the coefficient
  (`sparsity_controller.SparsityController`) and by one factor on all thresholds. The factor's weight grows as the
  learning rate falls; without it L0 ends some percent below k.
- The thresholds themselves are trained, and held at 0 or above. The paper's code trains their logarithms, which move
  too slowly from 0.001 in trainings shorter than a few hundred thousand steps.
- The decoder bias starts at the first batch's mean.
- Adam's first beta is 0.9, not 0.
- The kernel does not reach pre-activations of 0 and below.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.sparsity_controller import HIGHEST
from sae_stability.sae.training.steps.penalised import PenalisedStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations

BANDWIDTH = 0.001  # where the settings give none
THRESHOLD = 0.001  # before the first step
FOLLOW = 0.05  # power of L0 / k that thresholds are multiplied by at the end


class JumpReLUStep(PenalisedStep):
    """`threshold` is a parameter."""

    power = 2
    start = 0.005
    # Thresholds that are too high hardly come down of themselves: the error's gradient does not see what a latent that
    # is silent would add. So the coefficient must turn negative as soon as L0 is a few percent too low.
    proportional = 40.0

    def initial(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Thresholds 0.001, in the unit of the activations."""
        unit = weights["encoder"].shape[1] ** 0.5
        self.bandwidth = (self.settings.bandwidth or BANDWIDTH) * unit
        return weights | {"threshold": np.full(self.settings.n_latents, THRESHOLD * unit)}

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """The latents that fire or are within the kernel's reach."""
        threshold = self.parameters["threshold"]
        return self.operations.above(pre, (threshold - self.bandwidth / 2).clamp_(min=0))

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error and the penalty."""
        threshold = entries.at(self.parameters["threshold"])
        fires = entries.pre > threshold
        value = entries.pre * fires
        error, fvu, through_value = self.reconstruct(entries, value, inputs, variance)
        near = (entries.pre - threshold).abs_() < self.bandwidth / 2
        cost = (through_value * threshold).add_(self.coefficient).mul_(-1 / self.bandwidth)
        through_threshold = entries.only(cost.mul_(near))
        gradients, sums = self.linear_gradients(entries, inputs, error, value, through_value.mul_(fires), variance)
        gradients |= {"encoder_bias": sums, "threshold": entries.sums(through_threshold)}
        return Loss(fvu, error, entries.count(fires), gradients, sums)

    def after(self, l0: float, rate: float) -> None:
        """Steer the coefficient, let the thresholds follow L0, and keep them from falling below 0."""
        super().after(l0, rate)
        settings, threshold = self.settings, self.parameters["threshold"]
        if rate and self.steps > settings.warmup_steps:
            ratio = min(max(l0 / settings.k, 1 / HIGHEST), HIGHEST)
            threshold *= ratio ** (FOLLOW * max(0.0, 1 - rate / settings.peak_learning_rate))
        threshold.clamp_(min=0)


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> JumpReLUStep:
    """An SAE in training."""
    return JumpReLUStep(weights, settings, normalisation, make_operations(device, workers))
