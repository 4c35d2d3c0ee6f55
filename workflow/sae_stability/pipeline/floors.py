"""Matches of random dictionaries: what chance alone gives, for every shape of a study's SAEs."""

import dataclasses
from typing import TYPE_CHECKING

from sae_stability.pipeline.batches import jobs_of
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost, assignments
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "floor"
"""The verb that makes the results."""

_COMPILING_SECONDS = 45.0  # of the first jobs in a checkout that match anything: kernels are compiled

Repeat = tuple[int, int, int]
"""n_latents, d_model, and which of the repeats."""


def jobs(pipeline: "Pipeline") -> dict[str, list[Repeat]]:
    """The name of every job, and the repeats that it makes."""
    todo = set(pipeline.unfinished["floors"])
    found: dict[str, list[Repeat]] = {}
    for n_latents, d_model in pipeline.study.shapes:
        repeats = _repeats(pipeline.study, n_latents, d_model)
        found |= jobs_of(f"{n_latents}x{d_model}", repeats, todo, n_latents, d_model)
    return found


def outputs(pipeline: "Pipeline", repeats: list[Repeat]) -> list[str]:
    """The match of each repeat."""
    return [pipeline.results.floor(*repeat) for repeat in repeats]


def results(pipeline: "Pipeline") -> dict:
    """Every repeat of every shape, and what it is made from."""
    made_from = pipeline.fingerprints.floor()
    repeats = [repeat for shape in pipeline.study.shapes for repeat in _repeats(pipeline.study, *shape)]
    return {repeat: ([pipeline.results.floor(*repeat)], made_from) for repeat in repeats}


def reads(pipeline: "Pipeline", *_name: str | int) -> list[str]:
    """No other result."""
    return []


def command(pipeline: "Pipeline", repeats: list[Repeat]) -> str:
    """The shape of a job's dictionaries, and the file for each repeat."""
    n_latents, d_model, _ = repeats[0]
    shared = flags(n_latents=n_latents, d_model=d_model, config_hash=pipeline.fingerprints.floor())
    files = zip(repeats, outputs(pipeline, repeats), strict=True)
    each = [flags(rep=repeat, out=file) for (_, _, repeat), file in files]
    return " ".join([shared, *each])


def cost(study: Study, rates: Rates) -> Cost:
    """Every repeat of every shape. These jobs wait for nothing, so they are the first to match."""
    found = assignments("floor", [(*shape, study.floor_repeats) for shape in study.shapes], rates)
    compiling = _COMPILING_SECONDS * rates.slowness / 3600 if found.jobs else 0
    return dataclasses.replace(found, cpu_hours=found.cpu_hours + compiling)


def _repeats(study: Study, n_latents: int, d_model: int) -> list[Repeat]:
    return [(n_latents, d_model, repeat) for repeat in range(study.floor_repeats)]
