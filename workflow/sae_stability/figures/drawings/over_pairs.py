"""What the figures with means over pairs have in common: a mean with its interval, as a mark and in words."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles

PAIR_DOT = {"linestyle": "none", "marker": "o", "markersize": 3, "markeredgewidth": 0, "alpha": 0.4}


def draw_row(axes: Axes, rows: pd.DataFrame, place: float, colour: str, **look) -> None:
    """A dot for each pair, and the mean with its interval, at one height.

    Args:
        axes: where to draw.
        rows: one for each pair, all with the same mean and interval.
        place: the height.
        colour: of all marks.
        look: of the mean's mark.
    """
    if rows.empty:
        return
    axes.plot(rows["value"], [place] * len(rows), color=colour, **PAIR_DOT)
    mean, low, high = rows[["mean", "low", "high"]].iloc[0]
    axes.plot([low, high], [place, place], color=colour, linewidth=1.8)
    axes.plot([mean], [place], color=colour, **{"marker": "D", "markersize": 4.5, **look})


def draw_curve(axes: Axes, rows: pd.DataFrame, by: str, x: str, **look) -> None:
    """The mean over pairs as a line with dots, the range over pairs as a band.

    Args:
        axes: where to draw.
        rows: one for each pair and place.
        by: the column that says which rows belong to one place.
        x: the column with where it lies.
        look: of the line; `color` is also the band's.
    """
    places = rows.groupby(by).agg(
        x=(x, "mean"), mean=("value", "mean"), lowest=("value", "min"), highest=("value", "max")
    )
    axes.fill_between(places["x"], places["lowest"], places["highest"], color=look.get("color"), alpha=0.2, linewidth=0)
    axes.plot(places["x"], places["mean"], **{"marker": "o", "markersize": 3, "markeredgewidth": 0, **look})


def key_of_mean() -> list:
    """Key entries of what `draw_row` draws."""
    dot = {**PAIR_DOT, "color": styles.NEUTRAL}
    return [
        styles.mark("a pair", **dot),
        styles.mark("mean, 95% interval", color=styles.NEUTRAL, linewidth=1.8, marker="D", markersize=4.5),
    ]


def pairs_in_words(rows: pd.DataFrame, *, spread: str) -> str:
    """How many pairs there are, and what their spread is, as a clause: "n = 10 pairs, bands are their range".

    Args:
        rows: of this run.
        spread: what shows the spread, as a clause.
    """
    number = rows.groupby(["a", "b"]).ngroups
    return f"n = {phrases.count(number, 'pair')}, {spread if number > 1 else 'so no spread can be given'}"


def mean_in_words(rows: pd.DataFrame, form: str) -> str:
    """The mean over pairs with its interval: "0.31 [0.22, 0.38]"; "not measured" without a value.

    Args:
        rows: one for each pair, all with the same mean and interval.
        form: how a number is written, such as "{:.2f}".
    """
    if rows.empty or not np.isfinite(rows["mean"].iloc[0]):
        return phrases.NOT_MEASURED
    mean, low, high = (form.format(value) for value in rows[["mean", "low", "high"]].iloc[0])
    return f"{mean} [{low}, {high}]" if np.isfinite(rows["low"].iloc[0]) else mean
