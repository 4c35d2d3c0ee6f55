"""A figure's table -> its pictures and caption."""

import json
from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags
from sae_stability.pipeline.results import Results
from sae_stability.study.parts import Figure

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "figure"
"""The verb that makes the results."""


def outputs(results: Results, figure: str) -> dict[str, str]:
    """The files of a drawing; the record says what they were made from."""
    endings = {"record": "json", "svg": "svg", "pdf": "pdf", "png": "png", "caption": "rst"}
    return {name: results.figure(figure, ending) for name, ending in endings.items()}


def results(pipeline: "Pipeline") -> dict:
    """The drawing of every figure, and what it is made from."""
    return {
        slug: (list(outputs(pipeline.results, slug).values()), pipeline.fingerprints.drawing(figure))
        for slug, figure in pipeline.study.figures.items()
    }


def reads(pipeline: "Pipeline", slug: str) -> list[str]:
    """The files that the result of this name is made from."""
    return [pipeline.results.figure(slug, "parquet")]


def command(pipeline: "Pipeline", figure: Figure) -> str:
    """The kind of figure and the style."""
    style = json.dumps(pipeline.study.style)
    return flags(figure=figure.figure, style=style, config_hash=pipeline.fingerprints.drawing(figure))
