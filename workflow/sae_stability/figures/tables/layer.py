"""Table of the figure `layer`: shared fraction of every pair by layer, for one or several sizes."""

import re
from pathlib import Path

import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.figures import published
from sae_stability.figures.tables import overlap

QUALITY = ("fvu", "dead_fraction")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The pairs of every cohort at its layer, with the paper's Figure 5 (left).

    Args:
        inputs: (hookpoint or layer number, overlap folder) of each cohort; the first number in the label is the
            layer. Also (cohort, evaluation JSON) of each SAE, because layers may differ in quality too.

    Returns:
        Columns `overlap.PAIR_COLUMNS`, `fvu` and `dead_fraction` (means over the cohort's SAEs; NaN where not
        given), sorted by layer; cohorts of one layer differ in `size`.
    """
    folders, evaluations = overlap.split_evaluations(inputs)
    rows = [
        overlap.published_row(
            series=published.MODEL, value=str(layer), x=layer, size=size, statistic="joint", fraction=fraction
        )
        for size, fractions in published.LAYER.items()
        for layer, fraction in enumerate(fractions)
    ]
    run = overlap.pair_rows(folders, layer_of)
    return overlap.with_published(run.merge(overlap.quality(evaluations, QUALITY), how="left", on="cohort"), rows)


def layer_of(label: str) -> float:
    """The layer number in a hookpoint: 3 for "encoder.layer.3.output.dense:in".

    Raises:
        StudyError: the label holds no number.
    """
    found = re.search(r"\d+", label)
    if not found:
        raise StudyError(f"layer sweep, {label!r}: no layer number in it; give a hookpoint such as 'layers.6.mlp'")
    return float(found.group())
