"""Table of the figure `meta-depth`: how stable meta-SAEs, meta-SAEs of meta-SAEs and so on are between seeds."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap

FLAT = "flat"
STATISTICS = ("shared", "mean_cosine_decoder")
"""The shared fraction, and PW-MCC: the mean cosine of matched decoder rows, signed."""


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.pair_rows` of `STATISTICS` over depth, and the published values.

    `x` is the depth: 0 for SAEs of activations, 1 for SAEs of their decoder rows, and so on. `value` is "flat DEPTH"
    for SAEs of activations that stand beside meta-SAEs of about as many latents. The depth of published flat ones is
    not known (NaN).

    Args:
        inputs: (DEPTH or "flat DEPTH", overlap folder) of each cohort.
    """
    rows = overlap.pair_rows(inputs, _depth, STATISTICS)
    rows = rows[rows["source"].isin(("trained", "floor"))]
    values = [(str(depth), depth, value) for depth, value in published.PW_MCC_BY_DEPTH.items()]
    values += [(FLAT, float("nan"), value) for value in published.PW_MCC_FLAT]
    return overlap.with_published(rows, [_published(*value) for value in values])


def _depth(label: str) -> float:
    return float(label.removeprefix(FLAT))


def _published(label: str, depth: float, value: float) -> dict:
    row = overlap.published_row(
        series=published.DEPTHS, value=label, x=depth, size=0, statistic="mean_cosine_decoder", fraction=value
    )
    return row | {"size": float("nan"), "n": float("nan")}
