"""The parts of a study: models, text, passes, cohorts, sweeps and figures, checked and complete."""

import dataclasses
import itertools
import math

# Settings that do not change what an SAE learns: cohorts that differ in these alone are one cohort.
_NOT_TRAINING = {"slug": "", "init_seeds": (), "tensorboard": False}


@dataclasses.dataclass(frozen=True)
class Model:
    """A transformers model of width `d_model`. `max_positions` is None where it is unknown."""

    slug: str
    name: str
    revision: str | None
    sha256: str | None
    dtype: str
    d_model: int
    parameters: int | None
    max_positions: int | None


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Text. `documents` holds `kind` (docstrings, hub, files) and what belongs to it; `seed` is the documents' order."""

    slug: str
    documents: dict
    seed: int


@dataclasses.dataclass(frozen=True)
class TokenSet:
    """A corpus as token blocks of one model. Sizes are in trainable (not special) tokens."""

    slug: str
    model: Model
    corpus: Corpus
    context_length: int
    packing: bool
    heldout_tokens: int
    train_tokens: int
    chunk_tokens: int

    @property
    def chunks(self) -> int:
        """How many chunks there are, all of `chunk_tokens`."""
        return self.train_tokens // self.chunk_tokens


@dataclasses.dataclass(frozen=True)
class Pass:
    """Hookpoints read in one forward pass (`tokens` is set), or a given matrix (`matrix` is set).

    Sizes are in rows: one row is one token's activation vector. A matrix has one hookpoint, called "matrix".
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

    @property
    def model(self) -> Model | None:
        """The model that is read; None for a matrix."""
        return self.tokens.model if self.tokens else None

    @property
    def chunks(self) -> int:
        """How many chunks there are, all of `chunk_rows`."""
        return self.train_rows // self.chunk_rows

    @property
    def shards(self) -> tuple[str, ...]:
        """File names of a chunk's shards, the same for every chunk."""
        return tuple(f"shard-{i:04d}.safetensors" for i in range(math.ceil(self.chunk_rows / self.shard_rows)))

    @property
    def hook_slugs(self) -> dict[str, str]:
        """File name of each hookpoint -> the hookpoint."""
        return {hook_slug(hookpoint): hookpoint for hookpoint in self.hookpoints}


@dataclasses.dataclass(frozen=True)
class Cohort:
    """SAEs that share everything but the init seed; the unit of comparison."""

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
    normalisation: str
    init_seeds: tuple[int, ...]
    order_seed: int
    tensorboard: bool

    @property
    def seeds(self) -> tuple[int, ...]:
        """The init seeds, ascending."""
        return tuple(sorted(self.init_seeds))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every pair of init seeds (a, b), a < b."""
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
    def rows(self) -> int:
        """Distinct rows that training uses, over all chunks."""
        return self.tokens // self.epochs

    @property
    def chunks(self) -> int:
        """How many chunks training goes through; a last piece too small for one step is left out."""
        full, rest = divmod(self.rows, self.pass_.chunk_rows)
        return full + (rest * self.epochs >= self.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps over all chunks."""
        return sum(map(self.steps_of_chunk, range(self.chunks)))

    def rows_of_chunk(self, chunk: int) -> int:
        """Distinct rows used of one chunk: its first ones, and fewer than it has in the last chunk alone."""
        return min(self.pass_.chunk_rows, self.rows - chunk * self.pass_.chunk_rows)

    def steps_of_chunk(self, chunk: int) -> int:
        """Optimiser steps on one chunk: whole batches of its rows gone through `epochs` times."""
        return self.rows_of_chunk(chunk) * self.epochs // self.batch_size

    @property
    def training(self) -> dict:
        """The settings that decide what an SAE learns, without the init seed; plain data, for job parameters."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in {*_NOT_TRAINING, "pass_"}]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Member:
    """One cohort of a sweep: `labels` maps each varied setting to the value's name in figures."""

    cohort: str
    labels: dict[str, str]

    @property
    def label(self) -> str:
        """The labels in one piece of text."""
        return ", ".join(self.labels.values())


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Cohorts compared with each other. `fields` are the varied settings; empty for a group of declared cohorts."""

    slug: str
    base: str | None
    fields: tuple[str, ...]
    members: tuple[Member, ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure: its kind, what it draws (a cohort or a sweep) and the cohorts whose tables it needs."""

    slug: str
    figure: str
    cohort: str | None
    sweep: str | None
    cohorts: tuple[str, ...]


def hook_slugs(self) -> dict[str, str]:
    """File name of each hookpoint -> the hookpoint."""
    return {hook_slug(hookpoint): hookpoint for hookpoint in self.hookpoints}


@dataclasses.dataclass(frozen=True)
class Cohort:
    """SAEs that share everything but the init seed; the unit of comparison."""

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
    normalisation: str
    init_seeds: tuple[int, ...]
    order_seed: int
    tensorboard: bool

    @property
    def seeds(self) -> tuple[int, ...]:
        """The init seeds, ascending."""
        return tuple(sorted(self.init_seeds))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every pair of init seeds (a, b), a < b."""
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
    def rows(self) -> int:
        """Distinct rows that training uses, over all chunks."""
        return self.tokens // self.epochs

    @property
    def chunks(self) -> int:
        """How many chunks training goes through; a last piece too small for one step is left out."""
        full, rest = divmod(self.rows, self.pass_.chunk_rows)
        return full + (rest * self.epochs >= self.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps over all chunks."""
        return sum(map(self.steps_of_chunk, range(self.chunks)))

    def rows_of_chunk(self, chunk: int) -> int:
        """Distinct rows used of one chunk: its first ones, and fewer than it has in the last chunk alone."""
        return min(self.pass_.chunk_rows, self.rows - chunk * self.pass_.chunk_rows)

    def steps_of_chunk(self, chunk: int) -> int:
        """Optimiser steps on one chunk: whole batches of its rows gone through `epochs` times."""
        return self.rows_of_chunk(chunk) * self.epochs // self.batch_size

    @property
    def training(self) -> dict:
        """The settings that decide what an SAE learns, without the init seed; plain data, for job parameters."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in {*_NOT_TRAINING, "pass_"}]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Member:
    """One cohort of a sweep: `labels` maps each varied setting to the value's name in figures."""

    cohort: str
    labels: dict[str, str]

    @property
    def label(self) -> str:
        """The labels in one piece of text."""
        return ", ".join(self.labels.values())


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Cohorts compared with each other. `fields` are the varied settings; empty for a group of declared cohorts."""

    slug: str
    base: str | None
    fields: tuple[str, ...]
    members: tuple[Member, ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure: its kind, what it draws (a cohort or a sweep) and the cohorts whose tables it needs."""

    slug: str
    figure: str
    cohort: str | None
    sweep: str | None
    cohorts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Study:
    """A whole study. Every mapping is keyed by slug; `style` and `plan` are the plain settings of those sections."""

    name: str
    threshold: float
    models: dict[str, Model]
    corpora: dict[str, Corpus]
    tokens: dict[str, TokenSet]
    passes: dict[str, Pass]
    cohorts: dict[str, Cohort]
    sweeps: dict[str, Sweep]
    figures: dict[str, Figure]
    published: bool
    style: dict
    floor_repeats: int
    plan: dict

    @classmethod
    def from_config(cls, config: dict) -> "Study":
        """The study that a config (plain data, as YAML or Snakemake gives it) describes.

        Raises:
            StudyError: the first mistake: which key, what was given, what is allowed.
        """
        config = _filled(config)
        models = {slug: _model(slug, given) for slug, given in config["models"].items()}
        corpora = {slug: _corpus(slug, given) for slug, given in config["corpora"].items()}
        tokens = {slug: _token_set(slug, given, models, corpora) for slug, given in config["tokens"].items()}
        passes = {slug: _pass(slug, given, tokens) for slug, given in config["passes"].items()}
        cohorts = {slug: _cohort(slug, given, passes, f"cohorts.{slug}") for slug, given in config["cohorts"].items()}
        config_checks.check_distinct(cohorts)
        sweeps = {}
        for slug, given in config["sweeps"].items():
            sweeps[slug] = _sweep(slug, given, config["cohorts"], passes, cohorts)
        figures = config["figures"]
        study = cls(
            name=config["study"],
            threshold=config["threshold"],
            models=models,
            corpora=corpora,
            tokens=tokens,
            passes=passes,
            cohorts=cohorts,
            sweeps=sweeps,
            figures={slug: _figure(slug, given, cohorts, sweeps) for slug, given in figures["draw"].items()},
            published=figures["published"],
            style=figures["style"],
            floor_repeats=config["floor"]["repeats"],
            plan=config["plan"],
        )
        for cohort in study.cohorts.values():
            config_checks.check_cohort(cohort)
        return study

    def cohorts_of(self, pass_: str, hookpoint: str | None = None) -> list[Cohort]:
        """The cohorts that read a pass, or one hookpoint of it."""
        return [c for c in self.cohorts.values() if c.pass_.slug == pass_ and hookpoint in (None, c.hookpoint)]

    def chunks_needed(self, pass_: str) -> int:
        """How many chunks of a pass some cohort trains on; later chunks need not be extracted."""
        return max((cohort.chunks for cohort in self.cohorts_of(pass_)), default=0)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Every (n_latents, d_model) of the study, sorted: each needs a random floor."""
        return sorted({(cohort.n_latents, cohort.d_model) for cohort in self.cohorts.values()})


def load_study(paths: Iterable[str | os.PathLike], default: str | os.PathLike = "config.yaml") -> Study:
    """The study of one or more files, later ones over earlier ones; see `complete` for the part of `default`."""
    given: dict = {}
    for path in paths:
        given = merge(given, load_yaml(path))
    return Study.from_config(complete(given, default))


def complete(given: dict, default: str | os.PathLike = "config.yaml") -> dict:
    """A whole config: `given` itself where it names its `study`, else `given` laid over the file `default`.

    So a study file replaces the default study, and a few keys on a command line change it.
    """
    return dict(given) if "study" in given else merge(load_yaml(default), given)


def merge(under: dict, over: dict) -> dict:
    """`over` laid over `under`: mappings are merged key by key, anything else is replaced. Neither is changed."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def hook_slug(hookpoint: str) -> str:
    """A hookpoint as a file name."""
    return hookpoint.replace(":", "-")


def same_training(a: Cohort, b: Cohort) -> bool:
    """Whether two cohorts differ in nothing but name, seeds and logging."""
    return dataclasses.replace(a, **_NOT_TRAINING) == dataclasses.replace(b, **_NOT_TRAINING)
