"""Matches of a cohort -> overlap tables."""

from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags, folders
from sae_stability.pipeline.cost import Cost, on_cores, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_LATENT_BYTES = 200  # a latent of a pair, in all tables
_START_SECONDS = 2.0  # of a job, besides its start
_PAIR_SECONDS = 2.5


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


def reads(pipeline: "Pipeline", slug: str) -> dict[str, list[str]]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, pipeline.study.cohorts[slug])


def command(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> str:
    """The threshold, and each of the job's inputs under its flag."""
    files = inputs(pipeline, cohort)
    made_from = pipeline.fingerprints.overlap(cohort)
    words = [flags(cohort=cohort.slug, threshold=pipeline.study.threshold, config_hash=made_from)]
    words += [flags(match=file) for file in files["matches"]] + [flags(floor=file) for file in files["floors"]]
    for seed, latents, sae in zip(cohort.seeds, files["latents"], folders(files["saes"]), strict=True):
        words.append(flags(latents=f"{seed}={latents}", sae=f"{seed}={sae}"))
    return " ".join(words)


def cost(study: Study, rates: Rates) -> Cost:
    """One job a cohort. A pair's time goes into intervals and subspaces."""
    cohorts = study.compared.values()
    pairs = sum(len(cohort.pairs) for cohort in cohorts)
    written = sum(len(cohort.pairs) * cohort.n_latents * _LATENT_BYTES for cohort in cohorts)
    read = sum(len(cohort.seeds) * sae_bytes(cohort) for cohort in cohorts)
    seconds = len(cohorts) * _START_SECONDS + pairs * _PAIR_SECONDS
    spent = on_cores(rates, len(cohorts), seconds)
    return Cost("overlap", len(cohorts), **spent, read=read, written=written, peak=written)
