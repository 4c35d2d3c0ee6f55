"""The hyper-parameters of one training, how many steps they make, and the learning rate of each step."""

import hashlib
import json
import math
import numbers
import operator
from dataclasses import asdict, dataclass, fields
from typing import get_args

from sae_stability.errors import StudyError
from sae_stability.sae.training.budget import Budget
from sae_stability.sae.training.limits import InputNormalisation, ProductDtype, combination_fault, setting_fault


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything that decides an SAE's weights, apart from the activations themselves.

    Raises:
        StudyError: a value outside the limits that `sae.training.limits` states, or values that do not go together.
    """

    architecture: str = "topk"
    """Kind of SAE: a name in `sae.architectures.REGISTRY`, whose module defines loss and initialisation."""

    n_latents: int
    """Number of latents (rows of encoder and decoder)."""

    k: int
    """Latents that fire on one activation: at most this many (TopK), this many on average over every batch (BatchTopK,
    Matryoshka), or the average that a controller steers the sparsity penalty to (ReLU, Gated, JumpReLU)."""

    tokens: int
    """Activations seen in training, repeats counted: steps * batch_size, but for incomplete last batches of chunks."""

    chunk_tokens: int
    """Activations of one chunk; tokens / epochs is cut into chunks of this size."""

    epochs: int = 1
    """How many times each chunk is read before the next one."""

    batch_size: int = 4096
    """Activations a step."""

    learning_rate: float = 2e-4
    """Adam's rate at 2^14 latents; the highest rate used is learning_rate / sqrt(n_latents / 2^14), as in sparsify."""

    warmup_steps: int = 0
    """Steps over which the rate rises linearly from 0; it then falls linearly, to reach 0 one step after the last."""

    auxk_alpha: float = 0.0
    """Weight of the AuxK loss, which revives dead latents; 0 leaves it out, as in the paper."""

    dead_tokens: int = 10_000_000
    """A latent is dead once it has not fired for more than this many activations."""

    bandwidth: float | None = None
    """JumpReLU: width of the kernel about a threshold, in units of sqrt(d_model); 0.001, the paper's, if not given."""

    groups: int | None = None
    """Matryoshka: how many nested dictionaries; 5, the paper's number, if not given."""

    product_dtype: ProductDtype = "float32"
    """TopK: precision of the dense encoder product. Master weights, gradients and Adam stay float32. On a CPU, bfloat16
    only decides which latents fire: their values are computed again in float32, so gradients are exact. A processor
    without instructions for bfloat16 multiplies the rounded numbers in float32, and saves no time. On a GPU, the Triton
    step also reads bfloat16 copies for decoding and for gradient sums, and keeps the values as they are."""

    normalisation: InputNormalisation = "none"
    """`centre-scale` trains on (x - mean) / scale, with mean and scale of the first chunk; both are folded into the
    saved weights."""

    init_seed: int = 0
    """Seed of the initial weights and, for Gated SAEs, of the inputs that dead latents restart from; nothing else."""

    order_seed: int = 0
    """Seed of the order of the activations; nothing else."""

    hookpoint: str = ""
    """Where the activations were read. The initial weights depend on it, so that the SAEs of two hookpoints never start
    from the same dictionary."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(field.name, getattr(self, field.name), field.type))
        settings = asdict(self)
        if fault := setting_fault(settings) or combination_fault(settings):
            raise StudyError(fault)

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
        """Hash of every field, by which a state or a checkpoint of other settings is recognised."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def _plain(name: str, value: object, kind: object) -> object:
    """A number as a plain int or float, as `kind`, the type of its field, says; any other value unchanged.

    Raises:
        StudyError: it should be a number, and is none, or is not finite.
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
