"""The parts of a study: models, text, passes, cohorts, sweeps and figures, with every default filled in."""

import dataclasses
import itertools
import math

from sae_stability.models.source import ModelSource
from sae_stability.sae.training.budget import Budget

# Settings that do not change what an SAE learns. Cohorts that differ in nothing else are one cohort.
_NOT_TRAINING = {"slug": "", "seeds_per_job": 1, "tensorboard": False}
_SEEDS = ("init_seeds", "order_seeds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(ModelSource):
    """A model of a study: where it comes from, and its sizes; `parameters` and `max_positions` are None if unknown."""

    slug: str
    d_model: int
    parameters: int | None
    max_positions: int | None


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Text. `documents` is what `corpus.documents` reads: `kind` and its settings; `seed` is that of their order."""

    slug: str
    documents: dict = dataclasses.field(hash=False)
    seed: int


@dataclasses.dataclass(frozen=True)
class TokenSet:
    """A corpus cut into token blocks for one model. Counts leave out special tokens.

    With `shuffle_tokens`, the tokens are those of the corpus in random order.
    """

    slug: str
    model: Model
    corpus: Corpus
    context_length: int
    packing: bool
    heldout_tokens: int
    train_tokens: int
    chunk_tokens: int
    shuffle_tokens: bool

    @property
    def chunks(self) -> int:
        """How many chunks there are, all of `chunk_tokens`."""
        return self.train_tokens // self.chunk_tokens


@dataclasses.dataclass(frozen=True)
class Pass:
    """Hookpoints read in one forward pass (`tokens` is set), or rows that are there already.

    These are a matrix that the user has (`matrix` is set), or the decoder rows of SAEs: `decoder_of` holds the cohort
    and the seed of each, and with `alive`, rows of latents that never fire are left out. Sizes are in rows; a row of a
    model is the activation vector of one token. Rows that are there have one hookpoint, called "matrix" or "decoder".
    """

    slug: str
    tokens: TokenSet | None
    matrix: str | None
    tensor: str | None
    hookpoints: tuple[str, ...]
    d_model: int
    dtype: str
    heldout_rows: int
    train_rows: int
    chunk_rows: int
    shard_rows: int
    keep_special: bool
    max_norm_multiple: float | None
    keep_shards: bool
    shuffle_seed: int
    decoder_of: tuple[tuple[str, int], ...] = ()
    alive: bool = False

    @property
    def model(self) -> Model | None:
        """The model that is read; None for a matrix."""
        return self.tokens.model if self.tokens else None

    @property
    def chunks(self) -> int:
        """How many chunks there are, all of `chunk_rows`."""
        return self.train_rows // self.chunk_rows

    def shard_names(self, chunk: int | str) -> list[str]:
        """File names of the shards of a chunk, or of the held-out rows, "heldout"; all chunks have the same names."""
        rows = self.heldout_rows if chunk == "heldout" else self.chunk_rows
        return [f"shard-{i:04d}.safetensors" for i in range(math.ceil(rows / self.shard_rows))]

    @property
    def hook_slugs(self) -> dict[str, str]:
        """File name of each hookpoint -> the hookpoint."""
        return {hook_slug(hookpoint): hookpoint for hookpoint in self.hookpoints}


@dataclasses.dataclass(frozen=True)
class Cohort:
    """SAEs that share everything but the seed of their weights, of the order of the data, or of both.

    Either one of `init_seeds` and `order_seeds` holds a single seed, which all SAEs share; or both hold a seed for each
    SAE, in pairs.
    """

    slug: str
    pass_: Pass
    hookpoint: str
    architecture: str
    n_latents: int
    k: int
    tokens: int
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    auxk_alpha: float
    dead_tokens: int
    bandwidth: float | None
    groups: int | None
    product_dtype: str
    normalisation: str
    control: str | None
    init_seeds: tuple[int, ...]
    order_seeds: tuple[int, ...]
    seeds_per_job: int
    tensorboard: bool

    @property
    def varied(self) -> str:
        """What differs between the SAEs: "init" (their initial weights), "order" (of the data) or "both"."""
        if len(self.order_seeds) == 1:
            return "init"
        return "order" if len(self.init_seeds) == 1 else "both"

    @property
    def sae_seeds(self) -> dict[int, tuple[int, int]]:
        """(init seed, order seed) of each SAE, keyed by the seed that varies, or by the init seed where both vary."""
        count = max(len(self.init_seeds), len(self.order_seeds))
        init, order = (seeds * (count // len(seeds)) for seeds in (self.init_seeds, self.order_seeds))
        return dict(zip(order if self.varied == "order" else init, zip(init, order, strict=True), strict=True))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that number the SAEs, ascending: those that vary, or the init seeds where both vary."""
        return tuple(sorted(self.sae_seeds))

    @property
    def blocks(self) -> list[tuple[int, ...]]:
        """The seeds that one job trains or evaluates together, job by job. SAEs of a job read the data in one order."""
        size = self.seeds_per_job if self.varied == "init" else 1
        return [self.seeds[first : first + size] for first in range(0, len(self.seeds), size)]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every pair of seeds (a, b), a < b."""
        return list(itertools.combinations(self.seeds, 2))

    @property
    def hook_slug(self) -> str:
        """The hookpoint as a file name."""
        return hook_slug(self.hookpoint)

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.pass_.d_model

    @property
    def budget(self) -> Budget:
        """Rows and steps of each chunk."""
        return Budget(self.tokens, self.epochs, self.pass_.chunk_rows, self.batch_size)

    @property
    def chunks(self) -> int:
        """How many chunks training reads; a last piece that is too small for one step is left out."""
        return self.budget.chunks

    @property
    def steps(self) -> int:
        """Optimiser steps over all chunks."""
        return self.budget.steps

    @property
    def training(self) -> dict:
        """What decides the weights, apart from the two seeds: the other arguments of `TrainSettings` that are given."""
        others = {*_NOT_TRAINING, *_SEEDS, "pass_", *([] if self.control else ["control"])}
        names = [field.name for field in dataclasses.fields(self) if field.name not in others]
        return {**{name: getattr(self, name) for name in names}, "chunk_tokens": self.pass_.chunk_rows}


@dataclasses.dataclass(frozen=True)
class ExternalSae:
    """An SAE made elsewhere: a local `path`, or a `folder` of a hub repository at a `revision`."""

    path: str | None
    repo: str | None = None
    folder: str | None = None
    revision: str | None = None


@dataclasses.dataclass(frozen=True)
class ExternalCohort:
    """SAEs made elsewhere, compared with each other. They are numbered in order, and the number stands for the seed.

    They are evaluated on the held-out activations of `pass_` at `hookpoint`; both are None where there are none.
    """

    slug: str
    saes: tuple[ExternalSae, ...]
    format: str | None
    pass_: Pass | None
    hookpoint: str | None
    n_latents: int
    d_model: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """0, 1 ... in the order of `saes`."""
        return tuple(range(len(self.saes)))

    @property
    def blocks(self) -> list[tuple[int, ...]]:
        """One SAE a job."""
        return [(seed,) for seed in self.seeds]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every pair of numbers (a, b), a < b."""
        return list(itertools.combinations(self.seeds, 2))

    @property
    def hook_slug(self) -> str | None:
        """The hookpoint as a file name."""
        return None if self.hookpoint is None else hook_slug(self.hookpoint)


@dataclasses.dataclass(frozen=True)
class Firing:
    """What is measured of firing: the cohorts, on how many tokens (None: the stored ones), and which contexts.

    `contexts` are the fields of `firing.contexts.ContextSettings`.
    """

    cohorts: tuple[str, ...]
    tokens: int | None
    contexts: dict = dataclasses.field(hash=False)


@dataclasses.dataclass(frozen=True)
class Point:
    """One cohort of a sweep, and the `labels` that figures show for it: varied setting -> name of its value."""

    cohort: str
    labels: dict[str, str]

    @property
    def label(self) -> str:
        """The labels as one text."""
        return ", ".join(self.labels.values())


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Cohorts compared with each other. `fields` are the varied settings; a group of declared cohorts has none."""

    slug: str
    base: str | None
    fields: tuple[str, ...]
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Stitch:
    """A chain of SAEs, (cohort, seed) each, from small to large; see `stitch.job.stitch` for the other settings."""

    slug: str
    chain: tuple[tuple[str, int], ...]
    threshold: float
    order: str
    order_seed: int
    bias: str
    paired: str = "neighbours"

    @property
    def places(self) -> dict[int, tuple[int, int]]:
        """The places in the chain of the SAEs of each pair, numbered from 1: neighbours, or each two."""
        places = range(len(self.chain))
        pairs = itertools.combinations(places, 2) if self.paired == "all" else itertools.pairwise(places)
        return dict(enumerate(pairs, 1))

    @property
    def pairs(self) -> dict[int, tuple[tuple[str, int], tuple[str, int]]]:
        """The SAEs of each pair, numbered as `places`."""
        return {number: (self.chain[a], self.chain[b]) for number, (a, b) in self.places.items()}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure: its kind, what it draws (a cohort, a sweep or a chain of stitched SAEs), and its overlap tables.

    `inputs` are (label, cohort) for each of these. The label says where the figure places the cohort: a number (size,
    k, tokens), a hookpoint (layer) or a name.
    """

    slug: str
    figure: str
    cohort: str | None
    sweep: str | None
    inputs: tuple[tuple[str, str], ...]
    stitch: str | None = None


def hook_slug(hookpoint: str) -> str:
    """A hookpoint as a file name."""
    return hookpoint.replace(":", "-")


def without_seeds(cohort: Cohort) -> Cohort:
    """A cohort without name, jobs, logging and the seeds that vary: equal for two cohorts that train the same."""
    varied = {name: () for name in _SEEDS if len(getattr(cohort, name)) > 1}
    return dataclasses.replace(cohort, **_NOT_TRAINING, **varied)
