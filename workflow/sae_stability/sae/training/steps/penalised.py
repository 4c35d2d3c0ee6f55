"""Base class of steps whose sparsity penalty is adjusted to reach a target L0."""

from sae_stability.sae.training.sparsity_controller import MEMORY, SparsityController
from sae_stability.sae.training.steps.variable_l0 import EntryStep


class PenalisedStep(EntryStep):
    """A step with a sparsity penalty, whose coefficient a controller adjusts so that `k` latents fire on average.

    `memory` is that of the controller.
    """

    aims_at_l0 = True

    memory_size = MEMORY

    start = 0.05
    """The coefficient's base before the first step, for activations with a variance of 1 per dimension."""

    proportional = 3.0
    """Change of the coefficient, in multiples of its base, per relative error of L0."""

    power = 1
    """The penalty grows with this power of the activations' unit: 1 or 2."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        learning_time = self.settings.peak_learning_rate * self.settings.total_steps / 2
        self.controller = SparsityController(self.memory, self.settings.k, self.proportional, learning_time)

    def before_loss(self, variance: float, n_values: int) -> None:
        """Set the current coefficient, divided by the variance as the whole loss is."""
        unit = (variance / n_values) ** (self.power / 2)
        self.coefficient = self.controller.coefficient(self.start * unit) / variance

    def after_update(self, l0: float, rate: float) -> None:
        """Update the coefficient."""
        self.controller.update(l0, rate)
