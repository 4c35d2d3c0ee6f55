"""Table of the figure `architecture`: shared fraction by FVU and L0, and at the same FVU and L0."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.figures import published
from sae_stability.figures.tables import overlap

QUALITY = ("fvu", "l0", "dead_fraction")

# What architectures are compared at -> the scale on which the lines between an architecture's cohorts are straight.
SCALES = {"fvu": np.asarray, "l0": np.log}


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The pairs of every cohort, every architecture at the same FVU and L0, and the paper's Figure 5 (right).

    Args:
        inputs: (architecture, overlap folder) of each cohort, and (cohort, evaluation JSON) of each SAE.

    Returns:
        Columns `overlap.PAIR_COLUMNS`, `QUALITY` (means over the cohort's SAEs; NaN for published values) and
        `matched`. `value` is the architecture, `x` the FVU.

        Rows of source "interpolated" give an architecture at the FVU or L0 that most architectures reach; `matched`
        says which of the two. Their `fraction` lies on a straight line between the two nearest cohorts, over FVU or
        over the logarithm of L0. It is NaN where the architecture's cohorts do not reach that value.

    Raises:
        StudyError: a cohort has no FVU or no L0 to be placed by.
    """
    folders, evaluations = overlap.split_evaluations(inputs)
    place = {label: 0.0 for label, _ in folders}
    run = overlap.pair_rows(folders, place.__getitem__).merge(
        overlap.quality(evaluations, QUALITY), how="left", on="cohort"
    )
    unplaced = run[run[["fvu", "l0"]].isna().any(axis=1) | (run["l0"] <= 0)]
    if len(unplaced):
        raise StudyError(
            f"figure architecture, cohort {unplaced['cohort'].iloc[0]}: has no FVU or no L0 above 0 on held-out "
            "activations, and the figure goes by both; leave it out of the sweep"
        )
    run = run.assign(x=run["fvu"], matched="").sort_values(["value", "x"], kind="stable", ignore_index=True)
    interpolated = [row for name in SCALES for row in _interpolated(run, name)]
    return overlap.with_published(run, interpolated + _published())


def _published() -> list[dict]:
    return [
        overlap.published_row(
            series=f"{published.PAPER}, GPT-2",
            value=architecture,
            x=float("nan"),
            size=published.GPT2_LATENTS,
            statistic="decoder_only",
            fraction=fraction,
        )
        | {"matched": ""}
        for architecture, fraction in published.ARCHITECTURE.items()
    ]


def _interpolated(run: pd.DataFrame, name: str) -> list[dict]:
    """Every architecture at the common value of `name`, "fvu" or "l0"."""
    trained = run[run["source"] == "trained"]
    scale = SCALES[name]
    cohorts = trained.groupby("value")[name]
    common = common_value([tuple(scale(ends)) for ends in zip(cohorts.min(), cohorts.max(), strict=True)])
    value = float(np.exp(common)) if name == "l0" else common
    first = trained.iloc[0]
    rows = []
    for (architecture, latents, statistic), pairs in trained.groupby(["value", "latents", "statistic"]):
        means = pairs.groupby(name)["fraction"].mean()
        found = np.interp(common, scale(means.index), means, left=np.nan, right=np.nan)
        row = {"series": first["series"], "value": architecture, "cohort": "", "a": "", "b": "", "matched": name}
        row |= {"source": "interpolated", "latents": latents, "statistic": statistic, "fraction": float(found)}
        row |= {"size": first["size"], "n": first["size"], "threshold": first["threshold"], name: value}
        rows.append(row | {"x": value if name == "fvu" else float("nan")})
    return rows


def common_value(ranges: list[tuple[float, float]]) -> float:
    """The value that most ranges (lowest, highest) cover: the middle of the widest such stretch."""
    ends = sorted({end for ends in ranges for end in ends})
    stretches = [*itertools.pairwise(ends), *((end, end) for end in ends)]

    def covered(stretch: tuple[float, float]) -> int:
        return sum(low <= stretch[0] and stretch[1] <= high for low, high in ranges)

    low, high = max(stretches, key=lambda stretch: (covered(stretch), stretch[1] - stretch[0]))
    return (low + high) / 2
