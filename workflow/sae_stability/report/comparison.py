"""The paper's numbers beside this run's, wherever both are of the same place and statistic."""

from collections.abc import Iterator

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.figures.selection import rows_where
from sae_stability.report.blocks import Table, table
from sae_stability.report.evidence import Drawn, Evidence

# Kind of figure -> the columns in which a published value and its counterpart of this run agree, and the value's. Other
# kinds hold extremes, clusters read off a plot, or places whose names a study chooses.
_COMPARED = {
    "seeds": (("statistic", "m"), "mean"),
    "sharing": (("statistic", "m", "n_seeds"), "mean"),
    "thresholds": (("statistic", "threshold"), "fraction"),
    "size": (("statistic", "x"), "fraction"),
    **dict.fromkeys(("k", "tokens", "layer"), (("statistic", "x", "size"), "fraction")),
    "score-sharers": (("row", "shared_with", "n_others"), "score"),
    "explanation-similarity": (("row", "pairing", "above"), "similarity"),
    "components": (("kind",), "fraction"),
}
# The paper tests `joint` where these statistics of this run test `shared`.
_OF_SHARED = ("only_in_base", "in_exactly")

_HEADING = ("figure", "quantity", "at", "published", "here", "difference", "published in")


def comparison(found: Evidence) -> list[Table]:
    """The table, or nothing where no value of this run has a published one."""
    if not found.facts["published"]:
        return []
    rows = [row for figure in found.figures for row in _rows(figure)]
    return table("Published values and those of this run, all latents, mean over pairs", _HEADING, rows)


def _rows(figure: Drawn) -> Iterator[tuple[str, ...]]:
    if figure.kind == "joint":
        yield from _joint(figure)
    if figure.kind not in _COMPARED:
        return
    places, value = _COMPARED[figure.kind]
    own = rows_where(figure.table, source="trained")
    if "latents" in own:
        own = rows_where(own, latents="all")
    for _, row in rows_where(figure.table, source="published").dropna(subset=[value]).iterrows():
        here = rows_where(own, **{name: row[name] for name in places})[value].dropna()
        if len(here):
            name = phrases.escape(row.get("statistic", value)).replace("\\_", " ")
            yield _row(figure, name, _at(figure, row), row, value, here.mean())


def _joint(figure: Drawn) -> Iterator[tuple[str, ...]]:
    """The means over the latents of one pair, which the published row gives as they are."""
    latents = rows_where(figure.table, source="trained", row="latent")
    for _, row in rows_where(figure.table, source="published", row="mean").iterrows():
        if len(latents):
            for side in ("decoder", "encoder"):
                name = f"cosine_{side}"
                yield _row(figure, f"mean matched {side} cosine", "", row, name, latents[name].mean())
            yield _row(figure, "same counterpart", "", row, "fraction_same", latents["same_counterpart"].mean())


def _at(figure: Drawn, row: pd.Series) -> str:
    if figure.kind == "thresholds":
        return f"threshold {row['threshold']:g}"
    if "m" in row:
        return f"{row['m']:.0f} SAEs"
    if "shared_with" in row:
        return f"shared with {row['shared_with']:.0f}"
    for name in ("pairing", "kind"):
        if name in row:
            return phrases.escape(row[name])
    return phrases.escape(row["value"])


def _row(figure: Drawn, name: str, at: str, row: pd.Series, value: str, here: float) -> tuple[str, ...]:
    """A row of the table; a part of the latents is written in percent."""
    published = row[value]
    if value in ("fraction", "mean", "fraction_same"):
        difference = f"{100 * (here - published):+.1f} points"
        numbers = [phrases.percent(published), phrases.percent(here), difference]
    else:
        numbers = [f"{published:.3f}", f"{here:.3f}", f"{here - published:+.3f}"]
    note = " (published: by *joint*)" if name.replace(" ", "_") in _OF_SHARED else ""
    return (phrases.escape(figure.picture.slug), name + note, at, *numbers, phrases.escape(row["series"]))
