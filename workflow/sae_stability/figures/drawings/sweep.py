"""What the figures over a swept value (size, k, tokens) have in common: drawing and caption."""

import math

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, sweep_phrases
from sae_stability.figures.drawings import style as styles

STATISTICS = (("shared", "shared"), ("same_counterpart", "same counterpart"))
# This run and the paper get a panel each where their values lie further apart than this factor.
FAR = 30
# One panel's part of the figure's width, roughly.
ONE_PANEL = 0.8


def draw_sweep(table: pd.DataFrame, style: dict, axis_label: str) -> Figure:
    """Shared and same-counterpart fraction of every pair against the value, logarithmic, with the paper's Figure 4."""
    style = styles.resolve(style)
    run, published = phrases.pick(table, series="this run"), phrases.pick(table, source="published")
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 3.5)
        panels = 1 if _in_one_panel(_values(run), _values(published), style) else 2
        axes = picture.subplots(1, panels, sharey=True, squeeze=False, width_ratios=(3, 2)[:panels])[0]
        handles = _draw_run(axes[0], run, style)
        if len(published):
            marks.draw_published(axes[-1], phrases.pick(published, statistic="joint"))
            marks.draw_published(axes[-1], phrases.pick(published, statistic="same_counterpart"), filled=False)
            handles += [marks.published_key("joint"), marks.published_key("same", filled=False)]
        styles.fraction_axis(axes[0].yaxis)
        axes[0].set(ylabel="fraction of latents")
        if panels == 1:
            log_axis(axes[0], [*_values(run), *_values(published)], style)
        else:
            log_axis(axes[0], _values(run), style, part=0.5)
            log_axis(axes[1], _values(published), style, part=0.33)
        picture.supxlabel(axis_label, fontsize=style["font_size"])
        styles.key(picture, handles)
        return picture


def _draw_run(axes: Axes, run: pd.DataFrame, style: dict) -> list[Line2D]:
    handles = []
    for (statistic, label), colour in zip(STATISTICS, style["palette"], strict=False):
        rows = phrases.pick(run, statistic=statistic)
        marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
        marks.draw_pairs(axes, rows, colour)
        handles += marks.run_key(colour, label)
    tied = marks.draw_tied(axes, phrases.pick(run, statistic="same_counterpart"))
    return [*handles, marks.floor_key(), *tied]


def _values(rows: pd.DataFrame) -> list[float]:
    return sorted(set(rows["x"]))


def _in_one_panel(run: list[float], published: list[float], style: dict) -> bool:
    """Whether this run and the paper lie near each other, with room for a tick at each of this run's values."""
    if not published:
        return True
    near = published[0] <= FAR * run[-1] and run[0] <= FAR * published[-1]
    values = [*run, *published]
    return near and set(run) <= set(_with_room(values, *_limits(values, ONE_PANEL), style, ONE_PANEL))


def log_axis(axes: Axes, values: list[float], style: dict, part: float = ONE_PANEL) -> None:
    """A logarithmic x axis with ticks at the values themselves, as many as have room.

    Args:
        axes: where.
        values: the more important ones first.
        style: the resolved style.
        part: the axes' part of the figure's width, roughly.
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
    # Narrow panels need more, lest the outermost labels of two neighbours meet.
    margin = max(0.05 * (high - low) / part, 0.1)
    return low - margin, high + margin


def _with_room(values: list[float], low: float, high: float, style: dict, part: float) -> list[float]:
    """Those of `values` whose labels do not meet one of a value before; arguments as for `log_axis`."""
    # A character in units of the axis; a digit is about 0.62 of the font's size wide.
    character = (high - low) * 0.62 * (style["font_size"] - 1) / 72 / (part * style["width"])
    kept: list[float] = []
    for value in values:
        label = styles.compact(value)
        apart = [character * ((len(label) + len(styles.compact(other))) / 2 + 0.6) for other in kept]
        if all(abs(math.log(value / other)) >= room for other, room in zip(kept, apart, strict=True)):
            kept.append(value)
    return kept


def caption_sweep(table: pd.DataFrame, quantity: str) -> str:
    """What the sweep shows in this run: ends of both curves, number of pairs and their range, floor, definitions.

    Args:
        table: the figure's tidy table.
        quantity: what is swept, in words ("the number of latents").
    """
    trained = phrases.pick(table, source="trained")
    shared = phrases.pick(trained, statistic="shared")
    same = phrases.pick(trained, statistic="same_counterpart")
    names = {x: styles.compact(x) for x in trained["x"]}
    floor = phrases.pick(table, source="floor", latents="all", statistic="shared")["fraction"]
    same_floors = phrases.counterpart_floors(phrases.pick(table, latents="all", statistic="same_counterpart"))
    courses = (
        f"The shared fraction against {quantity} goes "
        f"{sweep_phrases.course(phrases.pick(shared, latents='all'), names)}, "
        f"counting live latents only {sweep_phrases.course(phrases.pick(shared, latents='live'), names)}; "
        f"the same counterpart, at any cosine, goes {sweep_phrases.course(phrases.pick(same, latents='all'), names)}, "
        f"counting live latents only {sweep_phrases.course(phrases.pick(same, latents='live'), names)}; for "
        f"this fraction {sweep_phrases.widest(phrases.pick(same, latents='all'), names)}, and {same_floors}."
    )
    spread = sweep_phrases.pairs(phrases.pick(shared, latents="all"), names)
    return " ".join(
        [
            courses,
            f"{spread[0].upper()}{spread[1:]}; {marks.BESIDE}; for *shared* {phrases.floor(floor)}.",
            phrases.definition(trained["threshold"].iloc[0]),
            *sweep_phrases.published(table, "black squares: Pythia-160M, layer 6 MLP, Figure 4"),
        ]
    )
