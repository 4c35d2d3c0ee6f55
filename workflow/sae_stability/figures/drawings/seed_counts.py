"""What the figures over numbers of seeds (seeds, sharing) have in common: error bars, and what they are in words."""

import pandas as pd
from matplotlib.axes import Axes

from sae_stability.figures import phrases


def error_bars(axes: Axes, rows: pd.DataFrame, **look) -> None:
    """Means with their standard deviations; no bars where the cohort has two seeds, which is one pair."""
    rows = rows.dropna(subset=["mean"])
    spread = rows["std"].where(rows["n_seeds"] > 2)
    axes.errorbar(rows["m"], rows["mean"], yerr=spread, capsize=2, elinewidth=0.8, **look)


def bars_in_words(rows: pd.DataFrame, over: str) -> str:
    """What the error bars are, as a sentence without its full stop; for two seeds, that there are none.

    Args:
        rows: of this run, all latents.
        over: what the values differ in, in words.
    """
    if rows["n_seeds"].iloc[0] <= 2:
        return "There are two SAEs, so n = 1 pair and no spread can be given"
    deviations = phrases.percent_range(rows["std"])
    values = f"n = {phrases.count_range(rows['n'])} values, not independent"
    return f"Bars are one standard deviation ({deviations}) over {over}, {values}"
