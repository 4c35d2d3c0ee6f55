"""The figure `nearest`: how near each latent of a larger SAE is to one of a smaller SAE."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import CANONICAL
from sae_stability.figures.selection import rows_where

_WIDTH = 0.05  # of a bin of cosines
_SQUARE = {"color": styles.PUBLISHED, "markerfacecolor": "white", "linestyle": "none", **marks.PUBLISHED_DOT}
_BOTH = {"small": "o", "large": "^"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Four panels: highest cosines, activations against them, the fraction found, and the error with another bias."""
    picture = styles.figure(style, 7.4)
    cosines, activations, found, bias = picture.subplots(4, 1)
    run, published = (rows_where(table, source=source) for source in ("trained", "published"))
    colours = _colours(run, style)
    for number, pair in run.groupby("pair"):
        bins = rows_where(pair, panel="cosines")
        cosines.plot(bins["x"] + _WIDTH / 2, bins["value"], color=colours[number], marker="o", markersize=2)
        dots = rows_where(pair, panel="activations")
        look = {"linestyle": "none", "marker": "o", "markersize": 1.8, "markeredgewidth": 0, "alpha": 0.6}
        activations.plot(dots["x"], dots["value"], color=colours[number], rasterized=True, **look)
    cosines.axvline(run["threshold"].iloc[0], linewidth=0.6, zorder=0, **marks.THRESHOLD_LINE)
    cosines.set(xlabel="highest decoder cosine", ylabel="latents", ylim=(0, None))
    activations.set(xlabel="highest decoder cosine", ylabel="activation cosine")
    _draw_found(found, table, style)
    for side, marker in _BOTH.items():
        for rows, look in ((run, {"color": style["palette"][0]}), (published, _SQUARE)):
            some = rows_where(rows, panel="bias", detail=side)
            bias.plot(
                some["x"], 100 * some["value"], **{"linestyle": "none", "markersize": 4, **look, "marker": marker}
            )
    bias.set(xlabel="latents, larger to smaller SAE", ylabel="other bias: error, %")
    for axes in (found, bias):
        _ratios(axes, rows_where(table, panel="found")["x"])
    styles.key(picture, _key(table, colours, style))
    return picture


def _colours(run: pd.DataFrame, style: dict) -> dict[int, str]:
    """A colour for each pair; one for all where there are more than the palette has."""
    numbers, palette = sorted(run["pair"].unique()), style["palette"]
    return {number: palette[place if len(numbers) <= len(palette) else 0] for place, number in enumerate(numbers)}


def _draw_found(axes: Axes, table: pd.DataFrame, style: dict) -> None:
    rows = rows_where(table, panel="found")
    for latents, dot, points in (("all", marks.ALL_DOT, -marks.APART), ("live", marks.LIVE_DOT, marks.APART)):
        run = rows_where(rows, source="trained", detail=latents)
        look = {"color": style["palette"][0], "transform": marks.shifted(axes, points)}
        axes.plot(run["x"], run["value"], linestyle="none", **look, **dot)
    floor = rows_where(rows, source="floor")
    axes.plot(floor["x"], floor["value"], color=styles.FLOOR, linestyle="none", marker="_", markersize=12)
    published = rows_where(rows, source="published")
    axes.plot(published["x"], published["value"], **_SQUARE)
    axes.set(xlabel="latents, larger to smaller SAE", ylabel="found")
    styles.fraction_axis(axes.yaxis)


def _ratios(axes: Axes, ratios: pd.Series) -> None:
    """A logarithmic axis with a tick at each power of two."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    ticks = [2**power for power in range(8) if 2**power <= max(2, ratios.max()) * 1.01]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.set_xlim(0.8, max(2.0, ratios.max()) * 1.25)


def _key(table: pd.DataFrame, colours: dict[int, str], style: dict) -> list:
    handles = []
    if len(set(colours.values())) == len(colours):
        handles = [styles.mark(f"pair {number}", color=colour) for number, colour in colours.items()]
    first = style["palette"][0]
    handles += [
        styles.mark("all latents", color=first, linestyle="none", **marks.ALL_DOT),
        styles.mark("live latents", color=first, linestyle="none", **marks.LIVE_DOT),
        styles.mark("random directions", color=styles.FLOOR, linestyle="none", marker="_", markersize=12),
        *(
            styles.mark(f"{side} SAE, other bias", color=first, linestyle="none", marker=marker, markersize=4)
            for side, marker in _BOTH.items()
        ),
    ]
    if len(rows_where(table, source="published")):
        handles.append(styles.mark(CANONICAL, **_SQUARE))
    return handles


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run, published = (rows_where(table, source=source) for source in ("trained", "published"))
    floor = rows_where(table, source="floor")["value"]
    said = [_pair_in_words(number, pair) for number, pair in run.groupby("pair")]
    text = (
        "How near is each latent of the larger SAE, or of the other seed, to one of the smaller SAE? From above: the "
        "highest decoder cosine of live latents; the cosine of their activations with those of the latent that has it; "
        f"the part of latents with a decoder cosine of at least {run['threshold'].iloc[0]:g}, which several may have "
        "with the same one (all latents, and live ones); and by how much the error of each SAE changes with the "
        f"decoder bias of the other. {' '.join(said)} Random directions as many as the smaller SAE's: "
        f"{phrases.percent_range(floor)}."
    )
    if not len(published):
        return text
    summary, found = (rows_where(published, panel=panel) for panel in ("summary", "found"))
    mean, median = (rows_where(summary, detail=name)["value"].iloc[0] for name in ("mean", "median"))
    fit = rows_where(published, panel="fit")["value"].iloc[0]
    return (
        f"{text} Published ({phrases.escape(CANONICAL)}), 768 and 1,536 latents: mean {mean:.2f}, median {median:.2f}, "
        f"R² {fit:.2f}; five seeds of 3,072 latents: {phrases.percent_range(found[found['x'] == 1]['value'])} found; "
        f"other sizes: {phrases.percent_range(found[found['x'] > 1]['value'])}. Published values are of all latents; "
        "biases of GPT-2 are those of the smallest and the largest SAE."
    )


def _pair_in_words(number: int, pair: pd.DataFrame) -> str:
    small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
    summary, found = (rows_where(pair, panel=panel) for panel in ("summary", "found"))
    mean, median = (_digits(rows_where(summary, detail=name)["value"].iloc[0]) for name in ("mean", "median"))
    every, live = (phrases.percent(rows_where(found, detail=name)["value"].iloc[0]) for name in ("all", "live"))
    fit = rows_where(pair, panel="fit").iloc[0]
    return (
        f"Pair {number} ({small} and {large}), n = {summary['n'].iloc[0]:,.0f} live latents: highest cosine {mean} in "
        f"the mean, {median} in the median; R² of a line from decoder cosine (above 0.5) to activation cosine "
        f"{_digits(fit['value'])}; {every} found, of live latents {live}."
    )


def _digits(value: float) -> str:
    return phrases.NOT_MEASURED if pd.isna(value) else f"{value:.2f}"
