"""Controls: SAEs trained with a part of their weights held, to show what a number owes to that part's training.

Frozen decoder, soft-frozen decoder and frozen encoder are those of "Sanity checks for sparse autoencoders" (2026, arXiv
2602.14111). An untrained SAE has its initial weights.

A control wraps the training step of any architecture. After every step it puts the held parameters back. That equals
training without them: all gradients of a step are taken before any update, and Adam updates each parameter from its own
gradient and moments alone. So what a held parameter would have become, and its moments, reach no other parameter.
"""

import torch

from sae_stability.sae.training.limits import Control
from sae_stability.sae.training.steps.protocol import Step, StepResult

LEAST_COSINE = 0.8  # of a soft-frozen decoder row with its initial direction

_HELD = {"frozen-decoder": ("decoder",), "frozen-encoder": ("encoder",)}


def controlled(step: Step, control: Control | None) -> Step:
    """The step under a control; the step itself if there is none. The step must not have been advanced."""
    if control is None:
        return step
    if control == "soft-frozen-decoder":
        return SoftFrozenDecoder(step)
    return Frozen(step, _HELD.get(control))


class Frozen:
    """A `protocol.Step` that holds some parameters at their initial values.

    Args:
        step: the step of the architecture.
        held: names of the parameters that do not change; None for all. With all, only what is measured while training,
            such as BatchTopK's threshold, is learned.
    """

    def __init__(self, step: Step, held: tuple[str, ...] | None) -> None:
        self.inner = step
        self.names = tuple(step.parameter_names()) if held is None else held
        self.aims_at_l0 = step.aims_at_l0 and held is not None
        self._remember()

    def _remember(self) -> None:
        self.values = {name: self.inner.parameter(name).clone() for name in self.names}

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Train on one batch, then put the held parameters back."""
        result = self.inner.step(batch, rate)
        for name, value in self.values.items():
            self.inner.put(name, value)
        return result

    def state(self) -> dict[str, torch.Tensor]:
        """That of the inner step; it has the held parameters as they were initialised."""
        return self.inner.state()

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned, and hold the parameters in it.

        The decoder bias is initialised from the first chunk, so on a later one only the state has it.
        """
        self.inner.load_state(state)
        self._remember()

    def weights(self) -> dict[str, torch.Tensor]:
        """Those of the inner step."""
        return self.inner.weights()


class SoftFrozenDecoder:
    """A `protocol.Step` whose decoder rows keep a cosine of at least 0.8 (up to rounding) with their initial direction.

    A row that has turned further is replaced by the nearest direction that has not; its norm stays.
    """

    def __init__(self, step: Step) -> None:
        self.inner = step
        self.aims_at_l0 = step.aims_at_l0
        self.initial = torch.nn.functional.normalize(step.parameter("decoder"), dim=1)

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Train on one batch, then turn decoder rows back."""
        result = self.inner.step(batch, rate)
        self.inner.put("decoder", turned_back(self.inner.parameter("decoder"), self.initial))
        return result

    def state(self) -> dict[str, torch.Tensor]:
        """That of the inner step. The initial directions follow from the init seed."""
        return self.inner.state()

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        self.inner.load_state(state)

    def weights(self) -> dict[str, torch.Tensor]:
        """Those of the inner step."""
        return self.inner.weights()


def turned_back(rows: torch.Tensor, initial: torch.Tensor) -> torch.Tensor:
    """The rows, those with a cosine below 0.8 with their initial direction turned to the nearest direction at 0.8.

    Args:
        rows: (n_latents, d_model).
        initial: (n_latents, d_model), unit rows.

    Returns:
        A new tensor (n_latents, d_model). Rows within the limit are the same bit for bit. A row exactly opposite to its
        initial direction has no nearest one and becomes the initial direction.
    """
    norms = rows.norm(dim=1, keepdim=True)
    along = (rows * initial).sum(1, keepdim=True)
    beside = rows - along * initial
    size = beside.norm(dim=1, keepdim=True)
    sine = (1 - LEAST_COSINE**2) ** 0.5
    nearest = norms * (LEAST_COSINE * initial + sine * beside / size.clamp(min=1e-30))
    nearest = torch.where(size > 0, nearest, norms * initial)
    return torch.where(along < LEAST_COSINE * norms, nearest, rows)
