"""The interface of training steps, and the result of a step."""

from typing import NamedTuple, Protocol

import torch


class StepResult(NamedTuple):
    """Result of a step: numbers, or 0-d tensors on a device, which are read later (`history.PendingSteps`)."""

    fvu: float
    """sum ||x - x_hat||^2 / sum ||x - mean(x)||^2 of the batch, before the update."""

    auxk: float
    """The AuxK loss without its weight `auxk_alpha`; 0 if it was not used."""

    l0: float
    """Mean number of latents that fired on an activation, before the update."""

    dead: int
    """Number of dead latents after the step."""


class Step(Protocol):
    """An SAE in training: parameters, optimiser and dead counters, advanced one batch at a time."""

    aims_at_l0: bool
    """Whether a controller steers L0, the mean number of firing latents, to `k`."""

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Train on one batch (batch_size, d_model), float32, not yet normalised, at learning rate `rate`."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Copies on the CPU of all tensors that determine later steps."""
        ...

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned; the tensors are copied."""
        ...

    def parameter_names(self) -> list[str]:
        """The names of the parameters that Adam updates; every step has `encoder` and `decoder`."""
        ...

    def parameter(self, name: str) -> torch.Tensor:
        """A parameter, on the device that trains it; not a copy."""
        ...

    def put(self, name: str, value: torch.Tensor) -> None:
        """Replace the values of a parameter, in place: kernels and captured steps keep its address."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies on the CPU of the SAE's parameters, in the form that is saved."""
        ...
