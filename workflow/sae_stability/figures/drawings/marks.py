"""The marks that mean the same in every figure: pairs, live-only, random floor, published values."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from sae_stability.figures import phrases, published
from sae_stability.figures.drawings import style as styles

ALL_DOT = {"marker": "o", "markersize": 4.0, "markeredgewidth": 0}
LIVE_DOT = {"marker": "D", "markersize": 4.0, "markerfacecolor": "white", "markeredgewidth": 0.8}
LIVE_LINE = {"linestyle": (0, (3, 2)), "linewidth": 1.0}
# Half the distance, in points, between all latents and live ones at one value.
APART = 2.0
# Untrained SAEs have the same counterpart everywhere: their encoder is their decoder.
TIED = "encoder tied to decoder (same)"
TIED_LINE = {"linestyle": (0, (5, 1.5)), "linewidth": 1.2}
BESIDE = "filled dots are drawn a little left of their value and hollow ones right of it"
PUBLISHED_DOT = {"marker": "s", "markersize": 4.0, "markeredgewidth": 0.9}
PUBLISHED_LINE = {"linestyle": (0, (1, 1.5)), "linewidth": 1.0}


def means(rows: pd.DataFrame, by: str | list[str] = "x", **where: object) -> pd.DataFrame:
    """Mean, smallest, largest and number of the finite fractions at every `by`, its index, ascending."""
    chosen = phrases.pick(rows, **where).dropna(subset=["fraction"])
    return chosen.groupby(by)["fraction"].agg(["mean", "min", "max", "count"])


def draw_floor(axes: Axes, floor: pd.DataFrame, linestyle: str = "-") -> None:
    """The random floor: a grey line through the mean of its repetitions, a band from the smallest to the largest.

    Args:
        axes: where to draw.
        floor: what `means` returned for it.
        linestyle: of the line.
    """
    axes.fill_between(floor.index, floor["min"], floor["max"], color=styles.FLOOR, alpha=0.3, linewidth=0, zorder=1)
    marker = "_" if len(floor) == 1 else None
    axes.plot(
        floor.index,
        floor["mean"],
        color=styles.FLOOR,
        linewidth=1.6,
        linestyle=linestyle,
        marker=marker,
        markersize=12,
        zorder=1,
    )


def draw_tied(axes: Axes, rows: pd.DataFrame) -> list[Line2D]:
    """What "same counterpart" is held against beside the random floor, dashed: `match.overlap.tied`; its key entry."""
    tied = means(rows, source="tied", latents="all")
    if tied.empty:
        return []
    look = {"color": styles.FLOOR, **TIED_LINE, "marker": "_" if len(tied) == 1 else None, "markersize": 12}
    axes.plot(tied.index, tied["mean"], zorder=1, **look)
    return [styles.mark(TIED, **look)]


def draw_pairs(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """Every pair of this run a dot, with a line through the means: all latents filled, live ones hollow and dashed."""
    looks = (("all", {"linewidth": 1.2}, ALL_DOT, -APART), ("live", LIVE_LINE, LIVE_DOT, APART))
    for latents, line, dot, points in looks:
        pairs = phrases.pick(rows, source="trained", latents=latents).dropna(subset=["fraction"])
        mean = means(pairs)
        look = {"color": colour, "transform": shifted(axes, points)}
        axes.plot(mean.index, mean["mean"], zorder=3, **look, **line)
        axes.plot(pairs["x"], pairs["fraction"], linestyle="none", zorder=4, **look, **dot)


def shifted(axes: Axes, points: float) -> Transform:
    """Data coordinates moved right by some points, so that two series at one value stand side by side."""
    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def draw_published(axes: Axes, rows: pd.DataFrame, *, filled: bool = True, size: float = 4.0) -> None:
    """The paper's values: black squares of `size` points and a dotted line."""
    face = styles.PUBLISHED if filled else "white"
    axes.plot(
        rows["x"],
        rows["fraction"],
        color=styles.PUBLISHED,
        markerfacecolor=face,
        zorder=2,
        **PUBLISHED_LINE,
        **{**PUBLISHED_DOT, "markersize": size},
    )


def run_key(colour: str, label: str) -> list[Line2D]:
    """Key entries of one statistic of this run, all latents and live ones."""
    return [
        styles.mark(label, color=colour, **ALL_DOT),
        styles.mark(f"{label}, live latents only", color=colour, **LIVE_LINE, **LIVE_DOT),
    ]


def floor_key() -> Line2D:
    """Key entry of the random floor."""
    return styles.mark("random floor", color=styles.FLOOR, linewidth=1.6)


def published_key(definition: str, *, filled: bool = True, series: str = published.MODEL) -> Line2D:
    """Key entry of a published series and the definition it uses."""
    face = styles.PUBLISHED if filled else "white"
    return styles.mark(
        f"{series} ({definition})", color=styles.PUBLISHED, markerfacecolor=face, **PUBLISHED_LINE, **PUBLISHED_DOT
    )
