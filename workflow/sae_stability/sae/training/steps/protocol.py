"""What a training step of any architecture offers, and what it reports."""

from typing import NamedTuple, Protocol

import torch


class StepResult(NamedTuple):
    """What one step did: numbers, or 0-d tensors on a device that need not be waited for (`history.Waiting`)."""

    fvu: float
    """sum ||x - x_hat||^2 / sum ||x - mean(x)||^2 of the batch, before the update."""

    auxk: float
    """The AuxK loss, without its weight; 0 where it did not apply."""

    l0: float
    """Mean number of latents that fired on an activation."""

    dead: int
    """Latents that are dead after the step."""


class Step(Protocol):
    """An SAE in training: parameters, optimiser and dead counters, advanced one batch at a time."""

    aims_at_l0: bool
    """Whether a controller steers the mean number of firing latents to `k`."""

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Advance by one batch (batch_size, d_model), float32, not yet normalised, at learning rate `rate`."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Every tensor that decides what comes next, on the CPU."""
        ...

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` returned; the tensors are copied."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """The SAE's parameters as they are saved, on the CPU."""
        ...
