"""Matches of a cohort -> overlap tables."""

from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags, folders
from sae_stability.pipeline.cost import Cost
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline


def inputs(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> dict[str, list[str]]:
    """The matches of a cohort and of random dictionaries of its shape, its SAEs and their tables of latents."""
    places, slug = pipeline.results, cohort.slug
    repeats = range(pipeline.study.floor_repeats)
    return {
        "matches": [places.match(slug, a, b) for a, b in cohort.pairs],
        "floors": [places.floor(cohort.n_latents, cohort.d_model, repeat) for repeat in repeats],
        "latents": [places.latents(slug, seed) for seed in cohort.seeds],
        "saes": [file(slug, seed) for seed in cohort.seeds for file in (places.settings, places.weights)],
    }


def outputs(pipeline: "Pipeline") -> list[str]:
    """The tables of every cohort."""
    return [file for cohort in pipeline.study.compared for file in pipeline.results.overlap_tables(cohort)]


def results(pipeline: "Pipeline") -> dict:
    """The tables of every cohort, and what they are made from."""
    return {
        slug: (pipeline.results.overlap_tables(slug), pipeline.fingerprints.overlap(cohort))
        for slug, cohort in pipeline.study.compared.items()
    }


def command(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> str:
    """The threshold, and each of the job's inputs under its flag."""
    files = inputs(pipeline, cohort)
    made_from = pipeline.fingerprints.overlap(cohort)
    words = [flags(cohort=cohort.slug, threshold=pipeline.study.threshold, config_hash=made_from)]
    words += [flags(match=file) for file in files["matches"]] + [flags(floor=file) for file in files["floors"]]
    for seed, latents, sae in zip(cohort.seeds, files["latents"], folders(files["saes"]), strict=True):
        words.append(flags(latents=f"{seed}={latents}", sae=f"{seed}={sae}"))
    return " ".join(words)


def cost(study: Study, _rates: dict) -> Cost:
    """One job a cohort."""
    return Cost("overlap", jobs=len(study.compared))
