"""Overlap tables and evaluations -> the study's key numbers in words."""

from typing import TYPE_CHECKING

from sae_stability.pipeline import overlap
from sae_stability.pipeline.command import flags, keyed
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Figure, Pass

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_SEEDS_OF = {"init": "the initial weights", "order": "the order of the data", "both": "weights and order"}


def inputs(pipeline: "Pipeline") -> list[str]:
    """Every cohort's overlap tables, every SAE's quality, and the tables of the figures of controls."""
    places = pipeline.results
    quality = [places.quality(cohort.slug, seed) for cohort, seed in pipeline.saes]
    return [*overlap.outputs(pipeline), *quality, *_control_tables(pipeline)]


def results(pipeline: "Pipeline") -> dict:
    """The key numbers, and what they are made from."""
    places = pipeline.results
    return {"summary": ([places.summary_record, places.summary], pipeline.fingerprints.summary())}


def reads(pipeline: "Pipeline", _name: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline)


def command(pipeline: "Pipeline") -> str:
    """What the study is about, and every cohort's tables and SAEs."""
    places, cohorts = pipeline.results, pipeline.study.compared
    first = next(iter(cohorts))
    words = [flags(study=pipeline.study.name, base=first)]
    words.append(flags(config_hash=pipeline.fingerprints.summary()))
    words += [
        flags(about=keyed(name, value))
        for name, value in about(pipeline.study, cohorts[first]).items()
        if value is not None
    ]
    words += [flags(overlap=f"{cohort}={places.overlap(cohort)}") for cohort in cohorts]
    words += [flags(evaluation=f"{cohort.slug}={places.quality(cohort.slug, seed)}") for cohort, seed in pipeline.saes]
    words += [flags(controls=file) for file in _control_tables(pipeline)]
    return " ".join(words)


def control_figures(study: Study) -> list[Figure]:
    """The figures that hold a cohort against its controls."""
    return [figure for figure in study.figures.values() if figure.figure == "controls"]


def _control_tables(pipeline: "Pipeline") -> list[str]:
    return [pipeline.results.figure(figure.slug, "parquet") for figure in control_figures(pipeline.study)]


def about(study: Study, cohort: Cohort | ExternalCohort) -> dict[str, object]:
    """What the report's first page says of a cohort: name and value of each setting; one of None is left out."""
    told = _about_activations(cohort.pass_) if cohort.pass_ else {}
    told |= {"hookpoint": cohort.hookpoint, "latents": f"{cohort.n_latents:,}", "width": f"{cohort.d_model:,}"}
    if cohort.slug in study.external:
        return told | {"SAEs": "made elsewhere", "seeds": len(cohort.seeds)}
    return told | {
        "architecture": cohort.architecture,
        "control": cohort.control,
        "k": cohort.k,
        "training tokens": f"{cohort.tokens:,}",
        "epochs": cohort.epochs,
        "seeds": f"{len(cohort.seeds)}, of {_SEEDS_OF[cohort.varied]}",
    }


def _about_activations(pass_: Pass) -> dict[str, object]:
    if pass_.decoder_of:
        return {"decoder rows of": ", ".join(f"{cohort} seed {seed}" for cohort, seed in pass_.decoder_of)}
    if pass_.tokens is None:
        return {"matrix": pass_.matrix}
    documents = {name: value for name, value in pass_.tokens.corpus.documents.items() if value is not None}
    words = {name: " ".join(value) if isinstance(value, list) else value for name, value in documents.items()}
    return {
        "model": pass_.model.name,
        "revision": pass_.model.revision,
        "weights": None if pass_.model.random_seed is None else f"random, seed {pass_.model.random_seed}",
        "corpus": ", ".join(f"{name} {value}" for name, value in words.items()),
        "order of tokens": "random" if pass_.tokens.shuffle_tokens else None,
    }
