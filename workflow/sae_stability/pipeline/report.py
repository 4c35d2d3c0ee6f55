"""Overlap tables, evaluations and figures -> the paper."""

import json
from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags, keyed
from sae_stability.pipeline.cost import Cost, on_cores
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.summary import about
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Model

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

# What a paper reads of a figure.
_SECONDS, _BYTES = 4.0, 3_000_000
_ENDINGS = ("json", "svg", "pdf", "rst", "parquet")
# Settings of training that the paper tells beside those that `summary.about` gives.
_TRAINING = ("batch_size", "learning_rate", "warmup_steps", "normalisation", "auxk_alpha", "dead_tokens")
_SEEDS = ("init_seeds", "order_seeds")


def inputs(pipeline: "Pipeline") -> list[str]:
    """The base cohort's overlap tables, every SAE's quality, and every figure."""
    places = pipeline.results
    quality = [places.quality(cohort.slug, seed) for cohort, seed in pipeline.saes]
    figures = [places.figure(slug, ending) for slug in pipeline.study.figures for ending in _ENDINGS]
    return [*places.overlap_tables(_base(pipeline.study)), *quality, *figures]


def results(pipeline: "Pipeline") -> dict:
    """The paper, and what it is made from."""
    files = [pipeline.results.report(ending) for ending in ("json", "html", "pdf")]
    return {"report": (files, pipeline.fingerprints.report())}


def reads(pipeline: "Pipeline", _name: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline)


def command(pipeline: "Pipeline") -> str:
    """What the study is about, and the files that its paper is written from."""
    told = paper(pipeline)
    words = [flags(study=told["study"], base=told["base"], facts=json.dumps(told["facts"]), overlap=told["overlap"])]
    words += [flags(evaluation=f"{cohort}={file}") for cohort, file in told["evaluation"]]
    words += [flags(figure=keyed(kind, file)) for kind, file in told["figures"]]
    return " ".join([*words, flags(config_hash=pipeline.fingerprints.report())])


def paper(pipeline: "Pipeline") -> dict:
    """What the paper is written from.

    Returns:
        `study`, `base` and `facts`; `overlap`, the folder of the base cohort's overlap tables; `evaluation`, cohort and
        file of every SAE's quality; `figures`, kind and record of every figure.
    """
    places, study = pipeline.results, pipeline.study
    base = _base(study)
    return {
        "study": study.name,
        "base": base,
        "facts": facts(study),
        "overlap": places.overlap(base),
        "evaluation": [(cohort.slug, places.quality(cohort.slug, seed)) for cohort, seed in pipeline.saes],
        "figures": [(figure.figure, places.figure(slug, "json")) for slug, figure in study.figures.items()],
    }


def facts(study: Study) -> dict:
    """The settings of a study that its paper tells.

    Returns:
        `about`: the study's own words, or None. `device`, `floor_repeats`. `published`: whether published values are
        shown. `trained`, `external`: how many cohorts. `models`: names. `architectures`: of the cohorts trained here.
        `base_tokens`, `base_epochs`: training of the base cohort; None for SAEs made elsewhere. `alike`: settings that
        all cohorts share, name -> value. `cohorts`: cohort -> its other settings. `sources`: rows of what, name,
        version or checksum, more. `explainers`, `scorers`: of the explanations.
    """
    told = {slug: _told(study, cohort) for slug, cohort in study.cohorts.items()}
    first = next(iter(told.values()))
    alike = {name: value for name, value in first.items() if all(other.get(name) == value for other in told.values())}
    base = study.cohorts[_base(study)]
    trained = isinstance(base, Cohort)
    interpreted = bool(study.interpret.cohorts)
    return {
        "about": study.about,
        "device": study.device,
        "floor_repeats": study.floor_repeats,
        "published": study.style.get("published", True),
        "trained": len(study.trained),
        "external": len(study.external),
        "models": list(dict.fromkeys(model.name for model in _models(study))),
        "architectures": sorted({cohort.architecture for cohort in study.trained.values()}),
        "base_tokens": base.tokens if trained else None,
        "base_epochs": base.epochs if trained else None,
        "alike": alike,
        "cohorts": {
            slug: {name: value for name, value in settings.items() if name not in alike}
            for slug, settings in told.items()
        },
        "sources": [*map(_of_model, _models(study)), *_of_texts(study)],
        "explainers": list(study.interpret.explainers) if interpreted else [],
        "scorers": list(study.interpret.scorers) if interpreted else [],
    }


def cost(_study: Study, rates: Rates) -> Cost:
    """One job."""
    return Cost("report", 1, **on_cores(rates, 1, _SECONDS), written=_BYTES, peak=_BYTES)


def _base(study: Study) -> str:
    """The cohort whose numbers come first."""
    return next(iter(study.compared))


def _told(study: Study, cohort: Cohort | ExternalCohort) -> dict[str, str]:
    """Name and value of each setting of a cohort, as text."""
    told = about(study, cohort)
    if isinstance(cohort, Cohort):
        told |= {name.replace("_", " "): getattr(cohort, name) for name in _TRAINING}
        told |= {name.replace("_", " "): ", ".join(map(str, getattr(cohort, name))) for name in _SEEDS}
    return {name: str(value) for name, value in told.items() if value is not None}


def _models(study: Study) -> list[Model]:
    """The models that some pass reads, in the study's order."""
    read = {cohort.pass_.model for cohort in study.cohorts.values() if cohort.pass_ and cohort.pass_.model}
    return [model for model in study.models.values() if model in read]


def _of_model(model: Model) -> list[str]:
    weights = f"random weights, seed {model.random_seed}" if model.random_seed is not None else "weights of its files"
    part = f"; part {model.part}" if model.part else ""
    return ["model", model.name, model.revision or model.sha256 or "", f"{weights}, {model.dtype}{part}"]


def _of_texts(study: Study) -> list[list[str]]:
    """The texts that some pass reads."""
    read = {cohort.pass_.tokens.slug for cohort in study.cohorts.values() if cohort.pass_ and cohort.pass_.tokens}
    found = []
    for tokens in (study.tokens[slug] for slug in study.tokens if slug in read):
        documents = tokens.corpus.documents
        more = f"{tokens.train_tokens:,} training and {tokens.heldout_tokens:,} held-out tokens"
        more += f", context {tokens.context_length}" + (", tokens in random order" if tokens.shuffle_tokens else "")
        name = documents.get("name") or documents["kind"]
        found.append(["text", f"{tokens.slug}: {name}", documents.get("revision") or "", more])
    return found
