"""The figure `swaps`: what swapping a component changes, and what adding latents of one kind changes."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import CANONICAL, GEMMA
from sae_stability.figures.selection import rows_where

_SQUARE = {"color": styles.PUBLISHED, "markerfacecolor": "white", "linestyle": "none", **marks.PUBLISHED_DOT}
_SQUARES = {CANONICAL: _SQUARE, GEMMA: _SQUARE | {"markerfacecolor": styles.PUBLISHED}}
_WORDS = {"error": "error", "l0": "L0"}
_DASHES = {"novel": "-", "reconstruction": (0, (3, 1.5))}
_MOST = 0.2  # Error, as a part: curves that rise further are cut off.


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Above, the changes by single swaps, of error and of L0; below, the error as latents of one kind are added."""
    picture = styles.figure(style, 5.6)
    error, l0, added = picture.subplots(3, 1, height_ratios=[2, 2, 3])
    for axes, name in ((error, "error"), (l0, "l0")):
        _draw_swaps(axes, rows_where(table, panel="swap", detail=name), style)
        axes.set_ylabel(f"{_WORDS[name]}, %")
    curves = rows_where(table, panel="added")
    run = rows_where(curves, source="trained")
    handles = []
    for number, pair in run.groupby("pair"):
        colour = _colour(number, style)
        for kind, dashes in _DASHES.items():
            rows = rows_where(pair, detail=kind)
            added.plot(rows["x"], 100 * rows["value"], color=colour, linestyle=dashes)
        handles.append(styles.mark(f"pair {number}", color=colour))
    published = rows_where(curves, source="published").dropna(subset=["x"])
    for series, square in _SQUARES.items():
        ends = rows_where(published, series=series)
        added.plot(ends["x"], 100 * ends["value"], **square)
    added.axhline(0, linewidth=0.5, color=styles.NEUTRAL)
    added.set(xlabel="part of the latents added", ylabel="error, %", xlim=(-0.03, 1.03))
    drawn = run.loc[run["value"] <= _MOST, "value"]
    added.set_ylim(100 * min(-0.01, drawn.min()) * 1.1, 100 * max(0.01, drawn.max()) * 1.1)
    handles += [styles.mark(f"{kind} added", color=styles.NEUTRAL, linestyle=_DASHES[kind]) for kind in _DASHES]
    if len(published):
        handles += [styles.mark(series, **square) for series, square in _SQUARES.items()]
    styles.key(picture, handles)
    return picture


def _colour(number: int, style: dict) -> str:
    return style["palette"][(number - 1) % len(style["palette"])]


def _draw_swaps(axes: Axes, rows: pd.DataFrame, style: dict) -> None:
    """A box for each pair, from quartile to quartile, with whiskers and without what lies beyond."""
    run, published = (rows_where(rows, source=source) for source in ("trained", "published"))
    numbers = sorted(run["pair"].unique())
    for place, number in enumerate(numbers):
        line = {"color": _colour(number, style)}
        axes.boxplot(
            [100 * rows_where(run, pair=number)["value"]],
            positions=[place],
            widths=0.5,
            showfliers=False,
            **dict.fromkeys(("boxprops", "whiskerprops", "capprops", "medianprops"), line),
        )
    labels = [f"pair {number}" for number in numbers]
    if len(published):
        axes.plot([len(numbers)] * len(published), 100 * published["value"], **_SQUARE)
        labels.append("GPT-2")
    axes.axhline(0, linewidth=0.5, color=styles.NEUTRAL)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, max(len(labels), 1) - 0.4)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run, published = (rows_where(table, source=source) for source in ("trained", "published"))
    said = [_pair_in_words(number, pair) for number, pair in run.groupby("pair")]
    text = (
        "Changes of the smaller SAE's error and L0, in %. Above, when one component of similar latents alone is "
        "swapped for the larger SAE's: boxes reach from quartile to quartile, whiskers at most 1.5 times as far again. "
        f"Below, as latents of the larger SAE are added one by one, each kind alone. {' '.join(said)} Curves are cut "
        f"off at {100 * _MOST:g}%."
    )
    if not len(published):
        return text
    swaps, added = (rows_where(published, panel=panel) for panel in ("swap", "added"))
    novel, other = (rows_where(added, series=CANONICAL, detail=kind) for kind in ("novel", "reconstruction"))
    ends = novel.dropna(subset=["x"])["value"]
    lowest = novel[novel["x"].isna()]["value"]
    gemma = rows_where(added, series=GEMMA)["value"].iloc[0]
    error, l0 = (_range(rows_where(swaps, detail=name)["value"], 3) for name in ("error", "l0"))
    return (
        f"{text} Squares ({phrases.escape(CANONICAL)}, read off the plots): medians of the error "
        f"{error}, of L0 {l0}; with all novel latents {_range(ends)} (Gemma 2 2B {_percent(gemma)}), at the lowest on "
        f"the way {_range(lowest)}; with all reconstruction latents {_range(other['value'])}, and more for larger SAEs."
    )


def _pair_in_words(number: int, pair: pd.DataFrame) -> str:
    small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
    swaps, added = (rows_where(pair, panel=panel) for panel in ("swap", "added"))
    error, l0 = (rows_where(swaps, detail=name)["value"] for name in ("error", "l0"))
    parts = [f"n = {phrases.count(len(error), 'swap')}"]
    if len(error):
        parts.append(f"median change of the error {_percent(error.median(), 3)}, of L0 {_percent(l0.median(), 3)}")
    for kind in _DASHES:
        values = rows_where(added, detail=kind)["value"]
        n = len(values) - 1
        if n:
            words = f"with all {n:,} {kind} latents the error changes by {_percent(values.iloc[-1])}"
            parts.append(f"{words} (lowest on the way {_percent(values.min())})")
    return f"Pair {number} ({small} and {large}): {'; '.join(parts)}."


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:+.{digits}f}%"


def _range(values: pd.Series, digits: int = 1) -> str:
    return f"{_percent(values.min(), digits)} to {_percent(values.max(), digits)}"
