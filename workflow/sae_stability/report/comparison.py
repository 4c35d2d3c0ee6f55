"""The paper's numbers beside this run's, wherever both are of the same place and statistic."""

from collections.abc import Iterator

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.figures.selection import rows_where
from sae_stability.report.blocks import Table, table
from sae_stability.report.evidence import Drawn, Evidence

# A published value has its counterpart in those rows of this run that agree with it in all of these columns that the
# figure's table has. Then follow the columns that may hold the value.
_PLACE = ("x", "size", "m", "n_seeds", "threshold", "statistic", "shared_with", "n_others", "pairing", "row")
_VALUES = ("fraction", "mean", "score", "similarity")
# Columns that say nothing of the place in one kind of figure: a sweep over the number of latents has it as x, and at m
# SAEs it does not matter how many more there are.
_ELSEWHERE = {"size": ("size",), "seeds": ("n_seeds",)}
# Kinds whose published values are of another thing than a place of this run: extremes, clusters read off a plot, and
# names that a study chooses.
_APART = ("pairs-table", "firing-similarity", "joint", "position", "architecture", "randomness")
# The paper tests `joint` where these statistics of this run test `shared`.
_OF_SHARED = ("only_in_base", "in_exactly")

_HEADING = ("figure", "quantity", "at", "published", "here", "difference")


def comparison(found: Evidence) -> list[Table]:
    """The table, or nothing where no value of this run has a published one."""
    if not found.facts["published"]:
        return []
    rows = [row for figure in found.figures for row in _rows(figure)]
    return table("Published values and those of this run, all latents, mean over pairs", _HEADING, rows)


def _rows(figure: Drawn) -> Iterator[tuple[str, ...]]:
    if figure.kind == "joint":
        yield from _joint(figure)
    if figure.kind in _APART or "source" not in figure.table:
        return
    value = next((name for name in _VALUES if name in figure.table), None)
    places = [name for name in _PLACE if name in figure.table and name not in _ELSEWHERE.get(figure.kind, ())]
    own = rows_where(figure.table, source="trained")
    if "latents" in own:
        own = rows_where(own, latents="all")
    for _, row in rows_where(figure.table, source="published").dropna(subset=[value]).iterrows():
        here = rows_where(own, **{name: row[name] for name in places})[value].dropna()
        if len(here):
            name = phrases.escape(row.get("statistic", value)).replace("\\_", " ")
            yield _row(figure, name, _at(figure, row), row[value], here.mean(), part=value in ("fraction", "mean"))


def _joint(figure: Drawn) -> Iterator[tuple[str, ...]]:
    """The means over the latents of one pair, which the published row gives as they are."""
    latents = rows_where(figure.table, source="trained", row="latent")
    for _, row in rows_where(figure.table, source="published", row="mean").iterrows():
        if len(latents):
            for side in ("decoder", "encoder"):
                name = f"cosine_{side}"
                yield _row(figure, f"mean matched {side} cosine", "", row[name], latents[name].mean(), part=False)
            same = latents["same_counterpart"].mean()
            yield _row(figure, "same counterpart", "", row["fraction_same"], same)


def _at(figure: Drawn, row: pd.Series) -> str:
    if figure.kind == "thresholds":
        return f"threshold {row['threshold']:g}"
    if "m" in row:
        return f"{row['m']:.0f} SAEs"
    if "shared_with" in row:
        return f"shared with {row['shared_with']:.0f}"
    if "pairing" in row:
        return phrases.escape(row["pairing"])
    return phrases.escape(row["value"])


def _row(figure: Drawn, name: str, at: str, published: float, here: float, part: bool = True) -> tuple[str, ...]:
    """A row of the table; a `part` of the latents is written in percent."""
    if part:
        difference = f"{100 * (here - published):+.1f} points"
        numbers = [phrases.percent(published), phrases.percent(here), difference]
    else:
        numbers = [f"{published:.3f}", f"{here:.3f}", f"{here - published:+.3f}"]
    note = " (published: by *joint*)" if name.replace(" ", "_") in _OF_SHARED else ""
    return (phrases.escape(figure.picture.slug), name + note, at, *numbers)
