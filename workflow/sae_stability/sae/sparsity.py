"""Holding the number of latents that fire at a target, by the weight of a sparsity penalty."""

import math

import numpy as np
import torch

from sae_stability.sae.entry_step import EntryStep

GAIN = 4.0
PROPORTIONAL = 0.5
WIDEST = 1.65
MEMORY = 3


class SparsityController:
    """A proportional-integral controller of the logarithm of the penalty's coefficient.

    After each step the logarithm grows by GAIN * learning rate * e, e = log(L0 / target) within +-1, and the
    coefficient in force is e^(logarithm + PROPORTIONAL * e). Time counts in learning rates because that is how fast
    weights, and so L0, can follow: the controller waits during warm-up and comes to rest as the rate falls to 0.

    `memory` (MEMORY,) float64 is all its state: whether it has begun, the logarithm, and the last e.
    """

    def __init__(self, memory: np.ndarray, target: float) -> None:
        self.memory, self.target = memory, target

    def coefficient(self, start: float) -> float:
        """The coefficient in force; at the first step `start`."""
        if not self.memory[0]:
            self.memory[:] = 1, math.log(start), 0
        return math.exp(self.memory[1]) * (1 + PROPORTIONAL * self.memory[2])

    def update(self, l0: float, rate: float) -> None:
        """Note a step's L0."""
        ratio = l0 / self.target
        self.memory[1] += GAIN * rate * math.log(min(max(ratio, 1 / WIDEST), WIDEST))
        self.memory[2] = min(ratio, 10.0) - 1


class PenalisedStep(EntryStep):
    """A step whose loss has a sparsity penalty, its coefficient such that `k` latents fire on average.

    `memory` is the controller's.
    """

    memory_size = MEMORY

    start = 0.1
    """The coefficient before the first step, for activations with a variance of 1 a dimension."""

    power = 1
    """The penalty's unit: the activations' own (1) or squared (2)."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.controller = SparsityController(self.memory, self.settings.k)

    def coefficient(self, inputs: torch.Tensor, variance: float) -> float:
        """The coefficient in force, divided by the variance as the whole loss is."""
        unit = (variance / inputs.numel()) ** (self.power / 2)
        return self.controller.coefficient(self.start * unit) / variance

    def after(self, l0: float, rate: float) -> None:
        """Steer the coefficient."""
        self.controller.update(l0, rate)
