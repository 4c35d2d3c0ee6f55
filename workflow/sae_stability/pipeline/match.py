"""SAEs -> exact matches of every pair of a cohort."""

import dataclasses
from typing import TYPE_CHECKING

from sae_stability.match.limits import KEPT_BYTES
from sae_stability.pipeline.batches import jobs_of
from sae_stability.pipeline.command import flags, folders
from sae_stability.pipeline.cost import Cost, assignments, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes
from sae_stability.study.build import Study

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

Pair = tuple[str, int, int]
"""Name of the cohort and the two seeds."""


def jobs(pipeline: "Pipeline") -> dict[str, list[Pair]]:
    """The name of every job, and the pairs that it matches."""
    todo = set(pipeline.unfinished["match"])
    found: dict[str, list[Pair]] = {}
    for slug, cohort in pipeline.study.compared.items():
        # By the later seed: the pairs of a seed added at the end are neighbours, and so go into one job.
        pairs = [(slug, *pair) for pair in sorted(cohort.pairs, key=lambda pair: pair[::-1])]
        found |= jobs_of(slug, pairs, todo, cohort.n_latents, cohort.d_model)
    return found


def inputs(pipeline: "Pipeline", pairs: list[Pair]) -> dict[str, list[str]]:
    """The SAEs of these pairs and their tables of latents, each once."""
    places, saes = pipeline.results, _saes(pairs)
    return {
        "saes": [file(*sae) for sae in saes for file in (places.settings, places.weights)],
        "latents": [places.latents(*sae) for sae in saes],
    }


def outputs(pipeline: "Pipeline", pairs: list[Pair]) -> list[str]:
    """The match of each pair."""
    return [pipeline.results.match(*pair) for pair in pairs]


def results(pipeline: "Pipeline") -> dict:
    """The match of every pair, and what it is made from."""
    return {
        (slug, *pair): ([pipeline.results.match(slug, *pair)], pipeline.fingerprints.match(cohort, *pair))
        for slug, cohort in pipeline.study.cohorts.items()
        for pair in cohort.pairs
    }


def reads(pipeline: "Pipeline", slug: str, first: int, second: int) -> dict[str, list[str]]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, [(slug, first, second)])


def command(pipeline: "Pipeline", pairs: list[Pair]) -> str:
    """The SAEs of each pair among the job's inputs, and the file for its match."""
    saes, files = _saes(pairs), inputs(pipeline, pairs)
    folder = dict(zip(saes, folders(files["saes"]), strict=True))
    latents = dict(zip(saes, files["latents"], strict=True))
    words = [
        flags(
            a=folder[cohort, a],
            b=folder[cohort, b],
            latents_a=latents[cohort, a],
            latents_b=latents[cohort, b],
            config_hash=pipeline.fingerprints.match(pipeline.study.cohorts[cohort], a, b),
            out=file,
        )
        for (cohort, a, b), file in zip(pairs, outputs(pipeline, pairs), strict=True)
    ]
    return " ".join(words)


def shape(study: Study, pairs: list[Pair]) -> tuple[int, int]:
    """(n_latents, d_model) of the SAEs of a job."""
    cohort = study.cohorts[pairs[0][0]]
    return cohort.n_latents, cohort.d_model


def memory(n_latents: int, d_model: int) -> int:
    """What a job on SAEs of this shape takes, in MB."""
    # Two dictionaries in several precisions, lists of candidates for each row, and SAEs kept for other pairs.
    return megabytes(32 * n_latents * d_model, 2**15 * n_latents, KEPT_BYTES)


def threads(n_latents: int) -> int:
    """Cores of a job."""
    return 1 if n_latents <= 8192 else 16


def cost(study: Study, rates: Rates) -> Cost:
    """Every pair of every cohort."""
    groups = [(cohort.n_latents, cohort.d_model, len(cohort.pairs)) for cohort in study.cohorts.values()]
    found = assignments("match", groups, rates)
    return dataclasses.replace(found, read=sum(2 * len(c.pairs) * sae_bytes(c) for c in study.cohorts.values()))


def _saes(pairs: list[Pair]) -> list[tuple[str, int]]:
    """Cohort and seed of every SAE of these pairs, each once."""
    return list(dict.fromkeys((cohort, seed) for cohort, a, b in pairs for seed in (a, b)))
