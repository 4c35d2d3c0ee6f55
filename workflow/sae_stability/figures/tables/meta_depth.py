"""Table of the figure `meta-depth`: how stable meta-SAEs, meta-SAEs of meta-SAEs and so on are between seeds."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.tables import overlap

FLAT = "flat"
STATISTICS = ("shared", "mean_cosine_decoder")
"""The shared fraction, and PW-MCC: the mean cosine of matched decoder rows, signed."""


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.pair_rows` of `STATISTICS` over depth.

    `x` is the depth: 0 for SAEs of activations, 1 for SAEs of their decoder rows, and so on. `value` is "flat DEPTH"
    for SAEs of activations that stand beside meta-SAEs of about as many latents.

    Args:
        inputs: (DEPTH or "flat DEPTH", overlap folder) of each cohort.
    """
    rows = overlap.pair_rows(inputs, _depth, STATISTICS)
    return rows[rows["source"].isin(("trained", "floor"))].reset_index(drop=True)


def _depth(label: str) -> float:
    return float(label.removeprefix(FLAT))
