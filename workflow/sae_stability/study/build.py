"""From a study's config, which is plain data, to the study: checked objects with every default filled in."""

import dataclasses
import os

from sae_stability.activations.matrix_header import matrix_shape
from sae_stability.errors import StudyError
from sae_stability.models.headers import model_facts
from sae_stability.models.source import ModelSource
from sae_stability.study import checks, schema
from sae_stability.study.cohort_seeds import with_defaults
from sae_stability.study.cohorts import trained
from sae_stability.study.counts import check_counts
from sae_stability.study.declared import Declared
from sae_stability.study.disk import chunk_sizes
from sae_stability.study.figures import check_interpreted, figure_of
from sae_stability.study.firing import firing_of
from sae_stability.study.interpret import Interpret, interpret_of
from sae_stability.study.parts import (
    Cohort,
    Corpus,
    ExternalCohort,
    Figure,
    Firing,
    Model,
    Pass,
    Stitch,
    Sweep,
    TokenSet,
)
from sae_stability.study.schema import load_yaml, look_up
from sae_stability.study.stitches import stitch_of


@dataclasses.dataclass(frozen=True)
class Study:
    """A whole study. Every mapping is keyed by slug; `style` and `plan` are the plain settings of those sections."""

    name: str
    about: str | None
    results: str
    device: str
    threshold: float
    models: dict[str, Model]
    corpora: dict[str, Corpus]
    tokens: dict[str, TokenSet]
    passes: dict[str, Pass]
    cohorts: dict[str, Cohort | ExternalCohort]
    sweeps: dict[str, Sweep]
    stitches: dict[str, Stitch]
    figures: dict[str, Figure]
    style: dict
    floor_repeats: int
    firing: Firing
    meta_directions: tuple[str, ...]
    interpret: Interpret
    plan: dict

    @classmethod
    def from_config(cls, config: dict) -> "Study":
        """The study that a config describes, plain data as read by YAML or by Snakemake.

        Raises:
            StudyError: the first mistake: which key, what was given, what is allowed.
        """
        config = _filled(config)
        checks.check_results(config["results"])
        models = {slug: _model(slug, given) for slug, given in config["models"].items()}
        corpora = {slug: _corpus(slug, given) for slug, given in config["corpora"].items()}
        chunks = chunk_sizes(config, models)
        tokens = {
            slug: _token_set(slug, given, models, corpora, chunks[slug]) for slug, given in config["tokens"].items()
        }
        passes = {
            slug: _pass(slug, given, tokens) for slug, given in config["passes"].items() if "decoder_of" not in given
        }
        declared = Declared(config, passes)
        cohorts, sweeps = declared.cohorts, declared.sweeps
        for name in config["meta"]["directions"]:
            look_up("meta.directions", name, cohorts)
        stitches = {
            slug: stitch_of(slug, given, cohorts, config["threshold"]) for slug, given in config["stitches"].items()
        }
        figures = config["figures"]
        study = cls(
            name=config["study"],
            about=config["about"],
            results=config["results"],
            device=config["device"],
            threshold=config["threshold"],
            models=models,
            corpora=corpora,
            tokens=tokens,
            passes=declared.passes,
            cohorts=cohorts,
            sweeps=sweeps,
            stitches=stitches,
            figures={
                slug: figure_of(slug, given, cohorts, sweeps, config["firing"]["cohorts"], stitches)
                for slug, given in figures["draw"].items()
            },
            style=figures["style"],
            floor_repeats=config["floor"]["repeats"],
            firing=firing_of(config["firing"], cohorts),
            meta_directions=tuple(config["meta"]["directions"]),
            interpret=interpret_of(config["interpret"], cohorts, config["firing"]["cohorts"], models),
            plan=config["plan"],
        )
        checks.check_compared(study.cohorts)
        check_counts(study)
        for figure in study.figures.values():
            check_interpreted(figure, study.interpret, study.cohorts)
        for cohort in study.trained.values():
            checks.check_cohort(cohort)
        return study

    @property
    def trained(self) -> dict[str, Cohort]:
        """The cohorts that are trained here."""
        return trained(self.cohorts)

    @property
    def external(self) -> dict[str, ExternalCohort]:
        """The cohorts of SAEs that were made elsewhere."""
        return {slug: cohort for slug, cohort in self.cohorts.items() if isinstance(cohort, ExternalCohort)}

    @property
    def compared(self) -> dict[str, Cohort | ExternalCohort]:
        """The cohorts with pairs to compare: all but those of a single SAE made elsewhere."""
        return {slug: cohort for slug, cohort in self.cohorts.items() if cohort.pairs}

    def cohorts_of(self, pass_: str, hookpoint: str | None = None) -> list[Cohort]:
        """The cohorts that are trained on a pass, or on one hookpoint of it."""
        return [c for c in self.trained.values() if c.pass_.slug == pass_ and hookpoint in (None, c.hookpoint)]

    def chunks_needed(self, pass_: str) -> int:
        """How many chunks of a pass are trained on, by the cohort that needs most; later ones are not extracted."""
        return max((cohort.chunks for cohort in self.cohorts_of(pass_)), default=0)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Every (n_latents, d_model) that is compared, sorted: each needs a random floor."""
        return sorted({(cohort.n_latents, cohort.d_model) for cohort in self.compared.values()})


def load_study(*paths: str | os.PathLike, default: str | os.PathLike = "config.yaml") -> Study:
    """The study of one or more files, each laid over those before it, and completed as `complete` says.

    Raises:
        StudyError: a file that cannot be read, or the first mistake in the study.
    """
    config: dict = {}
    for path in paths:
        config = merge(config, load_yaml(path))
    return Study.from_config(complete(config, default))


def complete(config: dict, default: str | os.PathLike = "config.yaml") -> dict:
    """A whole config: `config` itself if it has the key `study`, else `config` laid over the file `default`.

    So a study file replaces the default study, and a file or a command line with a few keys changes it.
    """
    return dict(config) if "study" in config else merge(load_yaml(default), config)


def merge(under: dict, over: dict) -> dict:
    """`over` laid over `under`: mappings are merged key by key, other values replaced. Neither argument is changed."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _filled(config: dict) -> dict:
    """The config with types checked and defaults filled in; cohort_defaults are laid under each cohort's settings."""
    rule = schema.schema()
    config = schema.check(config, rule, fill=False)
    defaults = config.get("cohort_defaults", {})
    cohorts = {
        slug: given if "saes" in given else with_defaults(defaults, given, f"cohorts.{slug}")
        for slug, given in config.get("cohorts", {}).items()
    }
    return schema.check({**config, **({"cohorts": cohorts} if cohorts else {})}, rule)


def _model(slug: str, given: dict) -> Model:
    facts = model_facts(ModelSource(given["name"], given["revision"]))
    known = {key: facts.get(key) if given[key] is None else given[key] for key in ("d_model", "max_positions")}
    if known["d_model"] is None:
        raise StudyError(
            f"models.{slug}.d_model: missing, and {given['name']} is no local folder to read it from; "
            "write the model's width (hidden_size, n_embd or d_model in its config.json on the hub)"
        )
    checks.check_weights(f"models.{slug}", given)
    rest = {key: value for key, value in given.items() if key not in ("weights", "seed")}
    random_seed = (given["seed"] or 0) if given["weights"] == "random" else None
    return Model(slug=slug, random_seed=random_seed, **{**rest, **known})


def _corpus(slug: str, given: dict) -> Corpus:
    documents = {key: value for key, value in given.items() if key != "seed"}
    return Corpus(slug, documents, given.get("seed", 0))


def _token_set(slug: str, given: dict, models: dict[str, Model], corpora: dict[str, Corpus], chunk: int) -> TokenSet:
    where = f"tokens.{slug}"
    model = look_up(f"{where}.model", given["model"], models)
    corpus = look_up(f"{where}.corpus", given["corpus"], corpora)
    token_set = TokenSet(slug, **{**given, "model": model, "corpus": corpus, "chunk_tokens": chunk})
    checks.check_chunks(where, "tokens", given["train_tokens"], chunk)
    checks.check_context(token_set)
    return token_set


def _pass(slug: str, given: dict, tokens: dict[str, TokenSet]) -> Pass:
    return _matrix_pass(slug, given) if "matrix" in given else _model_pass(slug, given, tokens)


def _model_pass(slug: str, given: dict, tokens: dict[str, TokenSet]) -> Pass:
    token_set = look_up(f"passes.{slug}.tokens", given["tokens"], tokens)
    rest = {key: value for key, value in given.items() if key != "shard_tokens"}
    sizes = {
        "heldout_rows": token_set.heldout_tokens,
        "train_rows": token_set.train_tokens,
        "chunk_rows": token_set.chunk_tokens,
        "shard_rows": given["shard_tokens"],
        "d_model": given["d_model"] or token_set.model.d_model,
    }
    own = {"tokens": token_set, "matrix": None, "tensor": None, "hookpoints": tuple(given["hookpoints"])}
    pass_ = Pass(slug=slug, **{**rest, **sizes, **own})
    checks.check_hook_slugs(pass_)
    return pass_


def _matrix_pass(slug: str, given: dict) -> Pass:
    where = f"passes.{slug}"
    rows, columns = matrix_shape(given["matrix"], given["tensor"], where)
    d_model = checks.matrix_width(where, given, rows, columns)
    chunk = given["chunk_rows"] or given["train_rows"]
    checks.check_chunks(where, "rows", given["train_rows"], chunk)
    own = {
        "tokens": None,
        "hookpoints": ("matrix",),
        "keep_special": True,
        "max_norm_multiple": None,
        "chunk_rows": chunk,
        "d_model": d_model,
    }
    return Pass(slug=slug, **{**given, **own})
