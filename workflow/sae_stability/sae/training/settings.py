"""What one training is: its hyper-parameters, how many steps they make, and the learning rate of each step."""

import hashlib
import json
import math
import numbers
import operator
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from sae_stability.errors import StudyError
from sae_stability.sae.training.budget import Budget


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything that decides an SAE's weights, apart from the activations themselves."""

    architecture: str = "topk"
    """Name in `sae.architectures.REGISTRY`; its module says what loss and initialisation that means."""

    n_latents: int
    """Number of latents (rows of encoder and decoder)."""

    k: int
    """Latents that fire on one activation: at most (TopK), or on average, in every batch (BatchTopK, Matryoshka) or
    by a controller of the sparsity penalty (ReLU, Gated, JumpReLU)."""

    tokens: int
    """Activations seen in all, epochs included: steps * batch_size, up to whole batches a chunk."""

    chunk_tokens: int
    """Activations of one chunk; tokens / epochs is cut into chunks of this size."""

    epochs: int = 1
    """Times each chunk is read before the next."""

    batch_size: int = 4096
    """Activations a step."""

    learning_rate: float = 2e-4
    """Base rate at 2^14 latents; the peak is learning_rate / sqrt(n_latents / 2^14) (sparsify)."""

    warmup_steps: int = 0
    """Steps of linear warm-up from 0; then linear decay that would reach 0 one step after the last."""

    auxk_alpha: float = 0.0
    """Weight of the AuxK loss that revives dead latents; 0 leaves it out, as the paper's runs did."""

    dead_tokens: int = 10_000_000
    """A latent is dead when it has not fired for more than this many activations."""

    bandwidth: float | None = None
    """JumpReLU: width of the kernel about a threshold, in units of sqrt(d_model); None is the paper's 0.001."""

    groups: int | None = None
    """Matryoshka: how many nested dictionaries; None is the paper's 5."""

    product_dtype: Literal["float32", "bfloat16"] = "float32"
    """TopK: precision of the dense encoder product. Master weights, gradients and Adam stay float32. On a CPU, bfloat16
    decides which latents fire and nothing else: their values are computed again in float32, so gradients are exact.
    Where the processor has no instructions for it, rounded numbers are multiplied in float32, and no time is saved.
    The Triton step on a GPU reads bfloat16 copies in decoding and in gradient sums too, and keeps the values."""

    normalisation: Literal["none", "centre-scale"] = "none"
    """`centre-scale` trains on (x - mean) / scale, both from the first chunk; folded into the saved weights."""

    init_seed: int = 0
    """Decides the initial weights, and which inputs dead latents start anew from (Gated), and nothing else."""

    order_seed: int = 0
    """Decides the order of the activations and nothing else."""

    hookpoint: str = ""
    """Part of the stream of the initial weights, so that two hookpoints never start from the same dictionary."""

    def __post_init__(self) -> None:
        from sae_stability.sae.architectures import REGISTRY, useless_setting

        for field in fields(self):
            object.__setattr__(self, field.name, _plain(field.name, getattr(self, field.name), field.type))
        if self.architecture not in REGISTRY:
            raise StudyError(f"architecture {self.architecture!r}: not known; allowed: {', '.join(sorted(REGISTRY))}")
        for name in (
            "n_latents",
            "k",
            "tokens",
            "chunk_tokens",
            "epochs",
            "batch_size",
            "learning_rate",
            "dead_tokens",
        ):
            if not getattr(self, name) > 0:
                raise StudyError(f"{name}: {getattr(self, name)} given; it must be above 0")
        if self.batch_size == 1:
            raise StudyError("batch_size: 1 given; one activation has no variance to measure errors by; give 2 or more")
        if self.k > self.n_latents:
            raise StudyError(f"k: {self.k} given, above n_latents = {self.n_latents}; lower k")
        if fault := useless_setting(self.architecture, asdict(self)):
            raise StudyError(fault)
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise StudyError(f"bandwidth: {self.bandwidth} given; it must be above 0")
        if self.groups is not None and not 2 <= self.groups <= self.n_latents:
            raise StudyError(f"groups: {self.groups} given; it must be from 2 to n_latents = {self.n_latents}")
        if self.product_dtype not in ("float32", "bfloat16"):
            raise StudyError(f"product_dtype: {self.product_dtype!r} given; allowed: float32, bfloat16")
        if self.warmup_steps < 0 or self.auxk_alpha < 0:
            raise StudyError("warmup_steps and auxk_alpha must be 0 or more")
        if self.normalisation not in ("none", "centre-scale"):
            raise StudyError(f"normalisation: {self.normalisation!r} given; allowed: none, centre-scale")
        if self.total_steps == 0:
            raise StudyError(
                f"tokens: {self.tokens} in {self.epochs} epochs gives no whole batch of {self.batch_size}; raise tokens"
            )
        if self.warmup_steps >= self.total_steps:
            raise StudyError(
                f"warmup_steps: {self.warmup_steps} given, but training has {self.total_steps} steps; lower it"
            )

    @property
    def n_chunks(self) -> int:
        """Chunks that training reads."""
        return self._budget.chunks

    def chunk_rows(self, chunk_index: int) -> int:
        """Rows of chunk `chunk_index` that are read, once an epoch."""
        return self._budget.rows_of(chunk_index)

    def chunk_steps(self, chunk_index: int) -> int:
        """Steps taken on chunk `chunk_index`."""
        return self._budget.steps_of(chunk_index)

    def steps_before(self, chunk_index: int) -> int:
        """Steps taken before chunk `chunk_index`."""
        return self._budget.steps_before(chunk_index)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self._budget.steps

    @property
    def _budget(self) -> Budget:
        return Budget(self.tokens, self.epochs, self.chunk_tokens, self.batch_size)

    @property
    def peak_learning_rate(self) -> float:
        """learning_rate / sqrt(n_latents / 2^14)."""
        return self.learning_rate / (self.n_latents / 2**14) ** 0.5

    def rate(self, step: int) -> float:
        """Learning rate of step `step` (from 0): transformers' linear schedule with warm-up."""
        if step < self.warmup_steps:
            return self.peak_learning_rate * step / self.warmup_steps
        return self.peak_learning_rate * (self.total_steps - step) / (self.total_steps - self.warmup_steps)

    def digest(self) -> str:
        """Hash of every field, to tell states and checkpoints of other settings apart."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def _plain(name: str, value: object, kind: object) -> object:
    """A setting as a plain int or float where `kind`, the type of its field, asks for a number; any other as it is.

    Raises:
        StudyError: it is no such number.
    """
    kinds = get_args(kind) or (kind,)
    if value is None and type(None) in kinds:
        return None
    if int in kinds:
        try:
            return operator.index(value)
        except TypeError:
            raise StudyError(f"{name}: {value} given; it must be a whole number") from None
    if float in kinds:
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise StudyError(f"{name}: {value} given; it must be a number, and a finite one")
        return float(value)
    return value
