"""What the figures over named places (position, randomness) have in common: a row for each place, and its numbers."""

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

Statistics = tuple[tuple[str, str], ...]

_FLOOR_DOT = {"marker": "|", "markersize": 9, "markeredgewidth": 1.6}
_TIED_DOT = {"marker": "|", "markersize": 9, "markeredgewidth": 0.7}
# Distances as parts of a row's height: from its middle to each statistic, and from there to all and to live latents.
_STATISTIC, _LATENTS = 0.22, 0.11
# Names longer than this are broken into several lines.
_LINE = 24


def draw_places(
    table: pd.DataFrame, style: dict, names: dict[float, str], statistics: Statistics, published: dict[str, str]
) -> Figure:
    """A row for each place, every pair of two statistics as a dot, and below them the paper's values.

    Args:
        table: the figure's tidy table.
        style: the resolved style.
        names: place (x) -> its name, the paper's included.
        statistics: two of them, each with its name in the key.
        published: statistic -> how the key names the paper's series; the second one is drawn hollow.
    """
    picture = styles.figure(style, 1.9 + 0.26 * len(names))
    axes = picture.add_subplot()
    handles = _draw_run(axes, table, style, statistics)
    paper = rows_where(table, source="published")
    if len(paper):
        handles += _draw_published(axes, paper, published)
    axes.set_yticks(list(names), [_wrapped(name) for name in names.values()])
    axes.set_ylim(max(names) + 0.5, min(names) - 0.5)
    styles.fraction_axis(axes.xaxis)
    axes.set(xlabel="fraction of latents")
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
    axes.set_axisbelow(True)
    styles.key(picture, [_without_line(handle) for handle in handles])
    return picture


def _draw_run(axes: Axes, table: pd.DataFrame, style: dict, statistics: Statistics) -> list[Line2D]:
    """Both statistics of this run and their floors; returns the key entries."""
    handles = []
    tied = False
    shifts = (-_STATISTIC, _STATISTIC)
    for (statistic, label), colour, shift in zip(statistics, style["palette"], shifts, strict=False):
        rows = rows_where(table, statistic=statistic)
        _draw_floor(axes, rows_where(rows, source="floor", latents="all"), shift, _FLOOR_DOT)
        _draw_pairs(axes, rows, colour, shift)
        handles += marks.run_key(colour, label)
        if statistic == "same_counterpart":
            floor = rows_where(rows, source="tied", latents="all")
            _draw_floor(axes, floor, shift, _TIED_DOT)
            tied = len(floor) > 0
    handles.append(styles.mark("random floor", color=styles.FLOOR, **_FLOOR_DOT))
    if tied:
        handles.append(styles.mark(marks.TIED, color=styles.FLOOR, **_TIED_DOT))
    return handles


def _draw_floor(axes: Axes, floor: pd.DataFrame, shift: float, dot: dict) -> None:
    axes.plot(floor["fraction"], floor["x"] + shift, color=styles.FLOOR, linestyle="none", zorder=2, **dot)


def _draw_pairs(axes: Axes, rows: pd.DataFrame, colour: str, shift: float) -> None:
    for latents, dot, place in (("all", marks.ALL_DOT, shift - _LATENTS), ("live", marks.LIVE_DOT, shift + _LATENTS)):
        pairs = rows_where(rows, source="trained", latents=latents)
        axes.plot(pairs["fraction"], pairs["x"] + place, color=colour, linestyle="none", zorder=4, **dot)


def _draw_published(axes: Axes, paper: pd.DataFrame, labels: dict[str, str]) -> list[Line2D]:
    """The paper's values below a line; returns the key entries."""
    handles = []
    for (statistic, label), face in zip(labels.items(), (styles.PUBLISHED, "white"), strict=False):
        look = {"color": styles.PUBLISHED, "markerfacecolor": face, **marks.PUBLISHED_DOT}
        rows = rows_where(paper, statistic=statistic)
        axes.plot(rows["fraction"], rows["x"], linestyle="none", **look)
        handles.append(styles.mark(label, **look))
    axes.axhline(paper["x"].min() - 0.5, color=styles.FLOOR, linewidth=0.6)
    return handles


def _without_line(handle: Line2D) -> Line2D:
    handle.set_linestyle("none")
    return handle


def _wrapped(name: str) -> str:
    """A name in short lines, broken after spaces, dots and colons (hookpoints have no spaces)."""
    lines = [""]
    for part in re.findall(r"[^\s.:]*[\s.:]*", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > _LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def numbers_of_places(table: pd.DataFrame, names: dict[float, str], statistic: str, label: str) -> str:
    """The numbers of every place, as a part of a sentence: shared and a second statistic, live latents, pairs.

    Args:
        table: the figure's tidy table.
        names: place (x) -> its name, not yet escaped.
        statistic: the second one.
        label: its name in words.
    """
    trained = rows_where(table, source="trained")
    return "; ".join(
        f"{phrases.escape(names[x])} {_mean(rows, 'all', 'shared')} (live latents only "
        f"{_mean(rows, 'live', 'shared')}; {label} {_mean(rows, 'all', statistic)}, live "
        f"{_mean(rows, 'live', statistic)}; {_pairs(rows, statistic, label)})"
        for x, rows in trained.groupby("x")
    )


def _mean(trained: pd.DataFrame, latents: str, statistic: str) -> str:
    return phrases.percent(rows_where(trained, latents=latents, statistic=statistic)["fraction"].mean())


def _pairs(trained: pd.DataFrame, statistic: str, label: str) -> str:
    """The number of pairs of one place, and how far they lie apart."""
    shared, second = (
        rows_where(trained, latents="all", statistic=name)["fraction"].dropna() for name in ("shared", statistic)
    )
    if len(shared) < 2:
        return f"n = {phrases.count(len(shared), 'pair')}, no spread"
    ranges = f"shared {phrases.percent_range(shared)}, {label} {phrases.percent_range(second)}"
    return f"n = {len(shared)} pairs, {ranges}"
