"""Holding the number of latents that fire at a target, by the weight of a sparsity penalty."""

from sae_stability.sae.training.sparsity_controller import MEMORY, SparsityController
from sae_stability.sae.training.steps.variable_l0 import EntryStep


class PenalisedStep(EntryStep):
    """A step whose loss has a sparsity penalty, its coefficient such that `k` latents fire on average.

    `memory` is the controller's.
    """

    aims_at_l0 = True

    memory_size = MEMORY

    start = 0.05
    """The coefficient's base before the first step, for activations with a variance of 1 a dimension."""

    proportional = 3.0
    """How much of the base the coefficient changes by where L0 is off by all of its target."""

    power = 1
    """The penalty's unit: the activations' own (1) or squared (2)."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        learning_time = self.settings.peak_learning_rate * self.settings.total_steps / 2
        self.controller = SparsityController(self.memory, self.settings.k, self.proportional, learning_time)

    def before(self, variance: float, numbers: int) -> None:
        """The coefficient in force, divided by the variance as the whole loss is."""
        unit = (variance / numbers) ** (self.power / 2)
        self.coefficient = self.controller.coefficient(self.start * unit) / variance

    def after(self, l0: float, rate: float) -> None:
        """Steer the coefficient."""
        self.controller.update(l0, rate)
