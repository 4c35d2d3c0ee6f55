"""What the figures over a swept number (size, k, tokens) have in common: drawing and caption."""

import math
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep_phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import all_and_live, rows_where


class Drawn(NamedTuple):
    """What a figure over a swept number shows: two statistics of this run and two of the paper, each with its name."""

    run: tuple[tuple[str, str], ...]
    published: tuple[tuple[str, str], ...]
    axis_label: str
    percent: bool


FRACTIONS = Drawn(
    run=(("shared", "shared"), ("same_counterpart", "same counterpart")),
    published=(("joint", "joint"), ("same_counterpart", "same")),
    axis_label="fraction of latents",
    percent=True,
)
# This run and the paper get a panel each where their values lie further apart than this factor.
FAR = 30
# One panel's part of the figure's width, roughly.
ONE_PANEL = 0.8


def draw_sweep(table: pd.DataFrame, style: dict, axis_label: str, drawn: Drawn = FRACTIONS) -> Figure:
    """Two statistics of every pair against the value, with the paper's Figure 4.

    Args:
        table: the figure's tidy table.
        style: the resolved style.
        axis_label: what is swept; its axis is logarithmic.
        drawn: the statistics.
    """
    run, published = rows_where(table, series="this run"), rows_where(table, source="published")
    picture = styles.figure(style, 3.5)
    panels = 1 if _in_one_panel(_values(run), _values(published), style) else 2
    axes = picture.subplots(1, panels, sharey=True, squeeze=False, width_ratios=(3, 2)[:panels])[0]
    handles = _draw_run(axes[0], run, style, drawn)
    if len(published):
        for (statistic, label), filled in zip(drawn.published, (True, False), strict=True):
            marks.draw_published(axes[-1], rows_where(published, statistic=statistic), filled=filled)
            handles.append(marks.published_key(label, filled=filled))
    if drawn.percent:
        styles.fraction_axis(axes[0].yaxis)
    else:
        axes[0].set(ylim=(0, 1))
    axes[0].set(ylabel=drawn.axis_label)
    if panels == 1:
        log_axis(axes[0], [*_values(run), *_values(published)], style)
    else:
        log_axis(axes[0], _values(run), style, part=0.5)
        log_axis(axes[1], _values(published), style, part=0.33)
    picture.supxlabel(axis_label, fontsize=style["font_size"])
    styles.key(picture, handles)
    return picture


def _draw_run(axes: Axes, run: pd.DataFrame, style: dict, drawn: Drawn) -> list[Line2D]:
    handles = []
    for (statistic, label), colour in zip(drawn.run, style["palette"], strict=False):
        rows = rows_where(run, statistic=statistic)
        marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
        marks.draw_pairs(axes, rows, colour)
        handles += marks.run_key(colour, label)
    tied = marks.draw_tied(axes, rows_where(run, statistic="same_counterpart"))
    return [*handles, marks.floor_key(), *tied]


def _values(rows: pd.DataFrame) -> list[float]:
    return sorted(set(rows["x"]))


def _in_one_panel(run: list[float], published: list[float], style: dict) -> bool:
    """Whether the values of this run and of the paper fit one axis with a tick at each value of this run."""
    if not published:
        return True
    near = published[0] <= FAR * run[-1] and run[0] <= FAR * published[-1]
    values = [*run, *published]
    return near and set(run) <= set(_with_room(values, *_limits(values, ONE_PANEL), style, ONE_PANEL))


def log_axis(axes: Axes, values: list[float], style: dict, part: float = ONE_PANEL) -> None:
    """A logarithmic x axis with ticks at the values themselves, as many as have room.

    Args:
        axes: the axes whose x axis is set.
        values: where ticks are wanted, the most important first.
        style: the resolved style.
        part: roughly, the part of the figure's width that the axes take.
    """
    low, high = _limits(values, part)
    kept = sorted(_with_room(values, low, high, style, part))
    axes.set_xscale("log")
    axes.set_xlim(math.exp(low), math.exp(high))
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(FixedFormatter([styles.compact(value) for value in kept]))
    axes.xaxis.set_minor_locator(NullLocator())


def _limits(values: list[float], part: float) -> tuple[float, float]:
    """The ends of a logarithmic axis, as logarithms."""
    low, high = math.log(min(values)), math.log(max(values))
    # Narrow panels need more, or the outermost labels of two neighbours meet.
    margin = max(0.05 * (high - low) / part, 0.1)
    return low - margin, high + margin


def _with_room(values: list[float], low: float, high: float, style: dict, part: float) -> list[float]:
    """Those of `values` whose label does not touch the label of one kept before it.

    Args:
        values: the most important first.
        low: left end of the axis, as a logarithm.
        high: right end of the axis, as a logarithm.
        style: the resolved style.
        part: as for `log_axis`.
    """
    # The width of a character in units of the axis; a digit is about 0.62 of the font's size wide.
    character = (high - low) * 0.62 * (style["font_size"] - 1) / 72 / (part * style["width"])
    kept: list[float] = []
    for value in values:
        label = styles.compact(value)
        apart = [character * ((len(label) + len(styles.compact(other))) / 2 + 0.6) for other in kept]
        if all(abs(math.log(value / other)) >= room for other, room in zip(kept, apart, strict=True)):
            kept.append(value)
    return kept


def caption_sweep(table: pd.DataFrame, quantity: str) -> str:
    """What the sweep shows in this run: both curves from end to end, the pairs and their range, floors, definitions.

    Args:
        table: the figure's tidy table.
        quantity: what is swept, in words ("the number of latents").
    """
    trained = rows_where(table, source="trained")
    names = {x: styles.compact(x) for x in trained["x"]}
    shared_all, shared_live = all_and_live(rows_where(table, statistic="shared"))
    same_all, same_live = all_and_live(rows_where(table, statistic="same_counterpart"))
    same_floors = phrases.counterpart_floors(rows_where(table, latents="all", statistic="same_counterpart"))
    return " ".join(
        [
            f"As {quantity} grows, the shared fraction {sweep_phrases.course(shared_all, names)}; counting live "
            f"latents only, it {sweep_phrases.course(shared_live, names)}.",
            f"{sweep_phrases.dots(shared_all, names)}; {phrases.floor_of(table)}.",
            f"The fraction with the same counterpart, at any cosine, {sweep_phrases.course(same_all, names)}; counting "
            f"live latents only, it {sweep_phrases.course(same_live, names)}; {sweep_phrases.widest(same_all, names)}; "
            f"{same_floors}.",
            phrases.definition(trained["threshold"].iloc[0]),
            *sweep_phrases.published(table, "Figure 4, Pythia-160M, layer 6 MLP"),
        ]
    )
