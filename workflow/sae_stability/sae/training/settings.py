"""Hyper-parameters of one training, and the number of steps and the learning rates that follow from them."""

import hashlib
import json
import math
import numbers
import operator
from dataclasses import asdict, dataclass, fields
from typing import get_args

from sae_stability.errors import StudyError
from sae_stability.sae.training.budget import Budget
from sae_stability.sae.training.limits import (
    Control,
    InputNormalisation,
    ProductDtype,
    combination_fault,
    setting_fault,
)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything that determines an SAE's weights, except the activations.

    Raises:
        StudyError: a value is outside its limits (`sae.training.limits`), or values contradict each other.
    """

    architecture: str = "topk"
    """Kind of SAE: a name in `sae.architectures.REGISTRY`. Its module defines loss and initial weights."""

    n_latents: int
    """Number of latents (rows of encoder and decoder)."""

    k: int
    """Number of latents that fire on an activation: the maximum (TopK), the mean over each batch (BatchTopK,
    Matryoshka), or the mean that a controller reaches by adjusting the sparsity penalty (ReLU, Gated, JumpReLU)."""

    tokens: int
    """Activations to train on, counting repeats. Incomplete last batches of chunks are dropped."""

    chunk_tokens: int
    """Activations per chunk: the tokens / epochs distinct activations are split into chunks of this size."""

    epochs: int = 1
    """Number of times that each chunk is read before the next one."""

    batch_size: int = 4096
    """Activations per step."""

    learning_rate: float = 2e-4
    """Adam's learning rate at 2^14 latents. The peak rate is learning_rate / sqrt(n_latents / 2^14), as in sparsify."""

    warmup_steps: int = 0
    """Steps over which the rate rises linearly from 0. It then falls linearly, to reach 0 one step after the last."""

    auxk_alpha: float = 0.0
    """Weight of the AuxK loss, which revives dead latents. 0, as in the paper on seeds, switches it off."""

    dead_tokens: int = 10_000_000
    """A latent is dead if it has not fired for more than this many activations."""

    bandwidth: float | None = None
    """JumpReLU: width of the kernel around the threshold, in units of sqrt(d_model). Default 0.001, as in the paper."""

    groups: int | None = None
    """Matryoshka: number of nested dictionaries. Default 5, as in the paper."""

    product_dtype: ProductDtype = "float32"
    """TopK: precision of the dense encoder product. Master weights, gradients and Adam are always float32. On a CPU,
    bfloat16 only selects the latents that fire; their values are recomputed in float32, so gradients are exact. A
    processor without bfloat16 instructions multiplies the rounded numbers in float32, which saves no time. On a GPU,
    the Triton step also reads bfloat16 copies for decoding and gradient sums, and does not recompute the values."""

    normalisation: InputNormalisation = "none"
    """`centre-scale`: train on (x - mean) / scale, with mean and scale of the first chunk. Both are folded into the
    saved weights."""

    control: Control | None = None
    """A part of the weights that keeps its initial values (`sae.training.controls`). `frozen-decoder` and
    `frozen-encoder` hold these rows; `soft-frozen-decoder` holds each decoder row at a cosine of at least 0.8 with its
    initial direction; `untrained` holds everything. Gated SAEs then resample no dead latents. None: all are trained."""

    init_seed: int = 0
    """Seed of the initial weights and, for Gated SAEs, of the inputs that resampling draws; of nothing else."""

    order_seed: int = 0
    """Seed of the order of the activations; of nothing else."""

    hookpoint: str = ""
    """Where the activations were read. The initial weights depend on it, so SAEs of two hookpoints never start from the
    same dictionary."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain_number(field.name, getattr(self, field.name), field.type))
        settings = asdict(self)
        if fault := setting_fault(settings) or combination_fault(settings):
            raise StudyError(fault)

    @property
    def n_chunks(self) -> int:
        """Number of chunks that training reads."""
        return self._budget.chunks

    def chunk_rows(self, chunk_index: int) -> int:
        """Number of rows of chunk `chunk_index` that each epoch reads."""
        return self._budget.rows_of(chunk_index)

    def chunk_steps(self, chunk_index: int) -> int:
        """Number of steps on chunk `chunk_index`."""
        return self._budget.steps_of(chunk_index)

    def steps_before(self, chunk_index: int) -> int:
        """Number of steps before chunk `chunk_index`."""
        return self._budget.steps_before(chunk_index)

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole training."""
        return self._budget.steps

    @property
    def _budget(self) -> Budget:
        return Budget(self.tokens, self.epochs, self.chunk_tokens, self.batch_size)

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate: learning_rate / sqrt(n_latents / 2^14)."""
        return self.learning_rate / (self.n_latents / 2**14) ** 0.5

    def rate(self, step: int) -> float:
        """Learning rate of step `step` (from 0): transformers' linear schedule with warm-up."""
        if step < self.warmup_steps:
            return self.peak_learning_rate * step / self.warmup_steps
        return self.peak_learning_rate * (self.total_steps - step) / (self.total_steps - self.warmup_steps)

    def record(self) -> dict:
        """All fields by name, for files that record them; without `control` if there is none."""
        fields = asdict(self)
        return fields if self.control else {name: value for name, value in fields.items() if name != "control"}

    def digest(self) -> str:
        """Hash of the `record`. States and checkpoints record it, so that those of other settings are recognised."""
        return hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()[:16]


def _plain_number(name: str, value: object, kind: object) -> object:
    """A number as a plain int or float, as the field's type `kind` requires. Other values do not change.

    Raises:
        StudyError: the field needs a number, but the value is none or is not finite.
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
            raise StudyError(f"{name}: {value} given; it must be a finite number")
        return float(value)
    return value
