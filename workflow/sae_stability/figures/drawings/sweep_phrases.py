"""Sentences about fractions of pairs over a swept value."""

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.published import PAPER


def course(rows: pd.DataFrame, names: dict[float, str]) -> str:
    """The mean at the first and the last place, and the extremes between them where they lie inside.

    Args:
        rows: trained rows of one statistic and one `latents`.
        names: place (x) -> its name in words, escaped.
    """
    mean = marks.means(rows)["mean"]
    if mean.empty:
        return phrases.NOT_MEASURED
    first, last = mean.index[0], mean.index[-1]
    if first == last:
        return f"{phrases.percent(mean[first])} at {names[first]}"
    course = f"from {phrases.percent(mean[first])} at {names[first]} to {phrases.percent(mean[last])} at {names[last]}"
    inside = [
        f"{word} {phrases.percent(mean[place])} at {names[place]}"
        for word, place in (("lowest", mean.idxmin()), ("highest", mean.idxmax()))
        if phrases.percent(mean[place]) not in map(phrases.percent, (mean[first], mean[last]))
    ]
    return f"{course} ({', '.join(inside)})" if inside else course


def pairs(rows: pd.DataFrame, names: dict[float, str]) -> str:
    """How many pairs stand at each place, and how far apart they lie where there are several.

    Args:
        rows: trained rows of one statistic, all latents.
        names: place (x) -> its name in words, escaped.
    """
    by_place = marks.means(rows, by=["x", "size"])
    if by_place.empty:
        return "no pair has a value"
    fewest, most = int(by_place["count"].min()), int(by_place["count"].max())
    if most == 1:
        return "each dot is one pair of SAEs, n = 1 pair at every place, so no spread can be given"
    number = f"n = {most}" if fewest == most else f"n = {fewest} to {most}"
    single = ", and where n = 1 no spread can be given" if fewest == 1 else ""
    return f"each dot is one pair of SAEs, {number} pairs at a place; {widest(rows, names)}{single}"


def widest(rows: pd.DataFrame, names: dict[float, str]) -> str:
    """The widest range over the pairs of one place, as a clause; arguments as for `pairs`."""
    by_place = marks.means(rows, by=["x", "size"])
    if by_place.empty or by_place["count"].max() == 1:
        return "n = 1 pair has no spread"
    place = (by_place["max"] - by_place["min"]).idxmax()
    return f"the widest range over pairs is {phrases.span(by_place.loc[place, ['min', 'max']])} at {names[place[0]]}"


def published(table: pd.DataFrame, what: str) -> list[str]:
    """A sentence on the paper's *joint* series and how far definitions differ in this run; none if it is not drawn.

    Args:
        table: the figure's tidy table.
        what: how the paper's values are drawn and of what they are.
    """
    if phrases.pick(table, source="published").empty:
        return []
    mean = phrases.pick(table, source="trained", latents="all").groupby(["x", "size", "statistic"])["fraction"].mean()
    wide = mean.unstack("statistic")
    excess = f"{100 * (wide['joint'] - wide['shared']).max():.1f}"
    here = "" if excess in ("nan", "0.0") else f"; here *joint* exceeds *shared* by up to {excess} percentage points"
    return [f"Published values ({PAPER}, {what}): {phrases.PAPER_IS_JOINT}{here}."]
