"""Figures and the study's key numbers -> Snakemake's own report."""

import os
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost, on_cores
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_SECONDS, _BYTES = 8.0, 3_000_000

VERB = "record"
"""The verb that makes the results."""


def inputs(pipeline: "Pipeline") -> list[str]:
    """What the report shows: every figure with its caption, and the key numbers."""
    figures = pipeline.study.figures
    return [pipeline.results.figure(figure, ending) for figure in figures for ending in ("svg", "rst")] + [
        pipeline.results.summary
    ]


def records(pipeline: "Pipeline") -> list[str]:
    """The records of what the report shows, and the tables behind it."""
    places, slugs = pipeline.results, pipeline.study.figures
    return [places.figure(slug, ending) for slug in slugs for ending in ("json", "parquet")] + [places.summary_record]


def results(pipeline: "Pipeline") -> dict:
    """Snakemake's report, and what it is made from."""
    places = pipeline.results
    files = [places.workflow_report_record, places.workflow_report]
    return {"workflow_report": (files, pipeline.fingerprints.workflow_report())}


def reads(pipeline: "Pipeline", _name: str) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline)


def check_command(pipeline: "Pipeline") -> str:
    """What must be as it was written before the report shows it."""
    return " ".join(flags(file=file) for file in records(pipeline))


def snakemake_command(snakefile: str, configfiles: Iterable[str], config: Iterable[str] | None) -> str:
    """What Snakemake needs to see the same study again: its Snakefile, its files, and changes on the command line."""
    # Relative paths: a study that was moved with its results is not another study.
    words = {
        "--snakefile": [os.path.relpath(snakefile)],
        "--configfile": [os.path.relpath(path) for path in configfiles],
        "--config": config or [],
    }
    quoted = {flag: " ".join(shlex.quote(str(word)) for word in some) for flag, some in words.items()}
    return " ".join(f"{flag} {some}" for flag, some in quoted.items() if some)


def cost(_study: Study, rates: Rates) -> Cost:
    """The key numbers in words, and the page."""
    return Cost("workflow report", 2, **on_cores(rates, 2, _SECONDS), written=_BYTES, peak=_BYTES)
