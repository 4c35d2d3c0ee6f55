"""Phrases about pairs at several places: their means from first to last, their number and range, published values."""

from collections.abc import Callable

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import rows_where


def course(rows: pd.DataFrame, names: dict[float, str], written: Callable[[float], str] = phrases.percent) -> str:
    """The mean at the first and at the last place, and the extremes where they lie between, as a verb phrase.

    Args:
        rows: trained rows of one statistic and one `latents`.
        names: place (x) -> its name in words, escaped.
        written: how a value is written.
    """
    mean = marks.means(rows)["mean"]
    if mean.empty:
        return f"was {phrases.NOT_MEASURED}"
    first, last = mean.index[0], mean.index[-1]
    if first == last:
        return f"is {written(mean[first])} at {names[first]}"
    ends = f"{written(mean[first])} at {names[first]} to {written(mean[last])} at {names[last]}"
    between = [
        f"{word} {written(mean[place])} at {names[place]}"
        for word, place in (("lowest", mean.idxmin()), ("highest", mean.idxmax()))
        if written(mean[place]) not in map(written, (mean[first], mean[last]))
    ]
    return f"goes from {ends} ({', '.join(between)})" if between else f"goes from {ends}"


def dots(rows: pd.DataFrame, names: dict[float, str]) -> str:
    """What the dots are, and how many stand at each place and how far apart: a sentence without its full stop.

    Args:
        rows: trained rows of one statistic, all latents.
        names: place (x) -> its name in words, escaped.
    """
    return f"{_pairs(rows, names)}; {marks.BESIDE}"


def _pairs(rows: pd.DataFrame, names: dict[float, str]) -> str:
    by_place = marks.means(rows, by=["x", "size"])
    if by_place.empty:
        return "No pair has a value"
    fewest, most = int(by_place["count"].min()), int(by_place["count"].max())
    if most == 1:
        return "Each dot is one pair of SAEs, n = 1 pair at every place, so no spread can be given"
    number = f"n = {most}" if fewest == most else f"n = {fewest} to {most}"
    single = ", and where n = 1 no spread can be given" if fewest == 1 else ""
    return f"Each dot is one pair of SAEs, {number} pairs at a place; {widest(rows, names)}{single}"


def widest(rows: pd.DataFrame, names: dict[float, str]) -> str:
    """The widest range over the pairs of one place, as a clause; arguments as for `dots`."""
    by_place = marks.means(rows, by=["x", "size"])
    if by_place.empty or by_place["count"].max() == 1:
        return "n = 1 pair has no spread"
    place = (by_place["max"] - by_place["min"]).idxmax()
    ends = phrases.percent_range(by_place.loc[place, ["min", "max"]])
    return f"the widest range over pairs is {ends} at {names[place[0]]}"


def published(table: pd.DataFrame, what: str) -> list[str]:
    """A sentence on the paper's *joint* series and how far definitions differ in this run; none if it is not drawn.

    Args:
        table: the figure's tidy table.
        what: which figure of the paper it is, and of which SAEs.
    """
    if rows_where(table, source="published").empty:
        return []
    mean = rows_where(table, source="trained", latents="all").groupby(["x", "size", "statistic"])["fraction"].mean()
    wide = mean.unstack("statistic")
    excess = f"{100 * (wide['joint'] - wide['shared']).max():.1f}"
    here = "" if excess in ("nan", "0.0") else f"; here *joint* exceeds *shared* by up to {excess} percentage points"
    return [f"Black squares: {PAPER}, {what}; {phrases.PAPER_IS_JOINT}{here}."]
