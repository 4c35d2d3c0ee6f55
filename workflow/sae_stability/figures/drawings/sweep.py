"""What the figures over a swept value (size, k, tokens) have in common: drawing and caption."""

import math

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from sae_stability.figures import words
from sae_stability.figures.drawings import marks, sweep_words
from sae_stability.figures.drawings import style as styles


def draw_sweep(table: pd.DataFrame, style: dict, axis_label: str) -> Figure:
    """Shared and same-counterpart fraction of every pair against the value, logarithmic, with the paper's Figure 4."""
    style = styles.resolve(style)
    shared, same = style["palette"][:2]
    with matplotlib.rc_context(styles.settings(style)):
        picture = styles.figure(style, 3.3)
        axes = picture.add_subplot()
        handles = []
        for statistic, label, colour in (("shared", "shared", shared), ("same_counterpart", "same counterpart", same)):
            rows = words.pick(table, statistic=statistic)
            marks.draw_floor(axes, marks.means(rows, source="floor", latents="all"))
            marks.draw_pairs(axes, rows, colour)
            handles += marks.run_key(colour, label)
        handles.append(marks.floor_key())
        published = words.pick(table, source="published")
        if len(published):
            marks.draw_published(axes, words.pick(published, statistic="joint"))
            marks.draw_published(axes, words.pick(published, statistic="same_counterpart"), filled=False)
            handles += [marks.published_key("joint"), marks.published_key("same", filled=False)]
        styles.fraction_axis(axes.yaxis)
        log_axis(axes, table, style)
        axes.set(xlabel=axis_label, ylabel="fraction of latents")
        styles.key(picture, handles)
        return picture


def log_axis(axes: Axes, table: pd.DataFrame, style: dict) -> None:
    """A logarithmic x axis with ticks at the values themselves: this run's first, as many as have room."""
    run = sorted(set(table.loc[table["source"] == "trained", "x"]))
    published = sorted(set(table.loc[table["source"] == "published", "x"]))
    low, high = min(run + published), max(run + published)
    margin = max(0.06 * math.log(high / low), 0.1)
    low, high = math.log(low) - margin, math.log(high) + margin
    # A tick label of five characters at this size, in units of the axis; the axes are about 0.8 of the width.
    room = (high - low) * 5 * 0.62 * style["font_size"] / 72 / (0.8 * style["width"])
    kept: list[float] = []
    for value in [*run, *published]:
        if all(abs(math.log(value / other)) >= room for other in kept):
            kept.append(value)
    axes.set_xscale("log")
    axes.set_xlim(math.exp(low), math.exp(high))
    axes.xaxis.set_major_locator(FixedLocator(sorted(kept)))
    axes.xaxis.set_major_formatter(FixedFormatter([styles.compact(value) for value in sorted(kept)]))
    axes.xaxis.set_minor_locator(NullLocator())


def caption_sweep(table: pd.DataFrame, quantity: str) -> str:
    """What the sweep shows in this run: ends of both curves, number of pairs and their range, floor, definitions.

    Args:
        table: the figure's tidy table.
        quantity: what is swept, in words ("the number of latents").
    """
    trained = words.pick(table, source="trained")
    shared = words.pick(trained, statistic="shared")
    same = words.pick(trained, statistic="same_counterpart", latents="all")
    names = {x: styles.compact(x) for x in trained["x"]}
    floor = words.pick(table, source="floor", latents="all", statistic="shared")["fraction"]
    courses = (
        f"The shared fraction against {quantity} goes {sweep_words.course(words.pick(shared, latents='all'), names)}, "
        f"counting live latents only {sweep_words.course(words.pick(shared, latents='live'), names)}; "
        f"the same counterpart, at any cosine, goes {sweep_words.course(same, names)}."
    )
    spread = sweep_words.pairs(words.pick(shared, latents="all"), names)
    return " ".join(
        [
            courses,
            f"{spread[0].upper()}{spread[1:]}; {words.floor(floor)}.",
            words.definition(trained["threshold"].iloc[0]),
            *sweep_words.published(table, "black squares: Pythia-160M, layer 6 MLP, Figure 4"),
        ]
    )
