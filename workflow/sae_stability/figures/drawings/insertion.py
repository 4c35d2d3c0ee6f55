"""The figure `insertion`: what each latent brings to another SAE, against its highest cosine there; the ROC curve."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import CANONICAL, GEMMA
from sae_stability.figures.selection import rows_where

SHORT = {CANONICAL: "GPT-2", GEMMA: "Gemma 2 2B"}
# More points are drawn as one bitmap inside SVG and PDF.
MOST_VECTOR_POINTS = 3000


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each latent of the large SAE; right, the ROC curve of the cosine; below, the area under it."""
    run = rows_where(table, source="trained")
    numbers = sorted(run["pair"].unique())
    picture = styles.figure(style, 1.9 + 1.9 * len(numbers))
    heights = [1.7] * len(numbers) + [0.5 + 0.2 * len(numbers)]
    grid = picture.add_gridspec(len(heights), 2, width_ratios=(2, 1), height_ratios=heights)
    panels = np.array([[picture.add_subplot(grid[row, side]) for side in (0, 1)] for row in range(len(numbers))])
    _draw_areas(picture.add_subplot(grid[-1, :]), rows_where(table, panel="auc"), style)
    used: dict[str, str] = {}
    for number, (left, right) in zip(numbers, panels, strict=True):
        pair = rows_where(run, pair=number)
        latents = rows_where(pair, panel="latent")
        known = (latents["shared"] != "").any()
        groups = ("shared", "unshared") if known else ("reconstruction", "novel")
        for group, colour in zip(groups, style["palette"] if known else style["palette"][2:], strict=False):
            used[group] = colour
            rows = latents[latents["shared" if known else "kind"] == group]
            left.plot(
                rows["x"],
                100 * rows["value"],
                linestyle="none",
                marker="o",
                markersize=1.8,
                markeredgewidth=0,
                alpha=0.6,
                color=colour,
                rasterized=len(latents) > MOST_VECTOR_POINTS,
            )
        left.axhline(0, linewidth=0.5, color=styles.NEUTRAL)
        left.axvline(pair["threshold"].iloc[0], linewidth=0.6, zorder=0, **marks.THRESHOLD_LINE)
        # A few latents raise the error a thousand times more than others lower it.
        left.set_yscale("symlog", linthresh=0.1, linscale=0.5)
        left.set_yticks(_ticks(100 * latents["value"]))
        left.yaxis.set_major_formatter("{x:g}")
        left.minorticks_off()
        left.set_ylim(bottom=1.5 * min([-0.05, *100 * latents["value"].dropna()]))
        left.set(ylabel=f"error, change in %\n(pair {number})")
        roc = rows_where(pair, panel="roc")
        right.plot(roc["x"], roc["value"], color=style["palette"][0])
        right.plot((0, 1), (0, 1), color=styles.FLOOR, linewidth=0.8)
        right.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=(0, 1), yticks=(0, 1))
    panels[-1, 0].set_xlabel("highest decoder cosine")
    panels[-1, 1].set_xlabel("false positives")
    panels[0, 1].set_ylabel("true positives")
    dot = {"linestyle": "none", "marker": "o", "markersize": 4}
    handles = [styles.mark(group, color=colour, **dot) for group, colour in used.items()]
    styles.key(picture, [*handles, styles.mark("ROC of chance", color=styles.FLOOR, linewidth=0.8)], columns=2)
    return picture


def _draw_areas(axes: Axes, areas: pd.DataFrame, style: dict) -> None:
    """The area under each pair's curve, and the published ones."""
    run, published = (rows_where(areas, source=source) for source in ("trained", "published"))
    axes.plot(run["value"], range(len(run)), color=style["palette"][0], linestyle="none", marker="o", markersize=4)
    labels = [f"pair {number}" for number in run["pair"]]
    look = {"color": styles.PUBLISHED, "markerfacecolor": "white", **marks.PUBLISHED_DOT}
    for series, label in SHORT.items():
        if len(values := rows_where(published, series=series)["value"]):
            axes.plot(values, [len(labels)] * len(values), linestyle="none", **look)
            labels.append(label)
    axes.axvline(0.5, color=styles.FLOOR, linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="area under the curve", xlim=(0, 1.03), ylim=(len(labels) - 0.5, -0.5))


def _ticks(values: pd.Series) -> list[float]:
    """Powers of ten on both sides of zero, as far as the values go."""
    powers = [0.1, 1, 10, 100]
    low, high = values.min(), values.max()
    return [-power for power in reversed(powers) if power <= -low] + [0] + [power for power in powers if power <= high]


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run = rows_where(table, source="trained")
    threshold = run["threshold"].iloc[0]
    said = [_pair_in_words(number, pair) for number, pair in run.groupby("pair")]
    published = rows_where(table, source="published")
    others = ""
    if len(published):
        gpt2, gemma = (rows_where(published, series=series)["value"] for series in (CANONICAL, GEMMA))
        others = (
            f"; published (Leask et al. 2025, neighbouring sizes): GPT-2 {_range(gpt2)}, Gemma 2 2B {_range(gemma)}"
        )
    return (
        "What each firing latent of the larger SAE, or of the other seed, brings: the change of the mean squared error "
        "of the smaller SAE when it alone is added, in % of that error, against its highest decoder cosine with the "
        f"smaller SAE. {' '.join(said)} Novel latents lie below the cosine {threshold:g}; a latent that lowers the "
        "error is new information, one that raises it is there already. Right, how well the cosine tells the two "
        f"apart; below, the area under that curve, which is 0.5 by chance{others}."
    )


def _pair_in_words(number: int, pair: pd.DataFrame) -> str:
    latents, area = rows_where(pair, panel="latent"), rows_where(pair, panel="auc")
    small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
    groups = [_group(kind, rows_where(latents, kind=kind)) for kind in ("novel", "reconstruction")]
    text = (
        f"Pair {number} ({small} and {large}, n = {len(latents):,} latents): {' and '.join(groups)} lower the error; "
    )
    auc, youden = area["value"].iloc[0], area["x"].iloc[0]
    text += f"area under the curve {_digits(auc)}, best threshold {_digits(youden)}."
    if not (latents["shared"] != "").any():
        return text
    unshared, shared = (rows_where(latents, shared=name) for name in ("unshared", "shared"))
    useful = (unshared["value"] < 0).mean() if len(unshared) else np.nan
    answer = "mostly new information" if useful > 0.5 else "mostly redundant"
    if not np.isfinite(useful):
        return text
    return (
        f"{text} Of the {len(unshared):,} latents that the two seeds do not share, {phrases.percent(useful)} lower the "
        f"error of the other seed's SAE (median change {100 * unshared['value'].median():+.2g}%), of the "
        f"{len(shared):,} shared ones {_lowering(shared)}: what only one of the two finds is {answer}."
    )


def _lowering(rows: pd.DataFrame) -> str:
    return phrases.percent((rows["value"] < 0).mean() if len(rows) else np.nan)


def _group(name: str, rows: pd.DataFrame) -> str:
    return f"{_lowering(rows)} of {len(rows):,} {name} ones"


def _digits(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else phrases.NOT_MEASURED


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"
