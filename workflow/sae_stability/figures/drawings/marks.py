"""The marks that mean the same in every figure: pairs, live latents only, floors, published values."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from sae_stability.figures import published
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

ALL_DOT = {"marker": "o", "markersize": 4.0, "markeredgewidth": 0}
LIVE_DOT = {"marker": "D", "markersize": 4.0, "markerfacecolor": "white", "markeredgewidth": 0.8}
LIVE_LINE = {"linestyle": (0, (3, 2)), "linewidth": 1.0}
# Distance, in points, from a value to the dots of all latents (left of it) and to those of live ones (right of it).
APART = 2.0
BESIDE = "filled dots are drawn a little left of their value and hollow ones right of it"
# Untrained SAEs have the same counterpart everywhere: their encoder is their decoder.
TIED = "encoder tied to decoder (same)"
TIED_LINE = {"linestyle": (0, (5, 1.5)), "linewidth": 1.2}
THRESHOLD_LINE = {"color": styles.NEUTRAL, "linestyle": (0, (4, 3))}
PUBLISHED_DOT = {"marker": "s", "markersize": 4.0, "markeredgewidth": 0.9}
PUBLISHED_LINE = {"linestyle": (0, (1, 1.5)), "linewidth": 1.0}


def means(rows: pd.DataFrame, by: str | list[str] = "x", **where: object) -> pd.DataFrame:
    """Columns mean, min, max and count of the finite fractions at every value of `by`.

    Args:
        rows: of a figure's table.
        by: the columns that become the index, ascending.
        where: values that columns must have, as for `rows_where`.
    """
    chosen = rows_where(rows, **where).dropna(subset=["fraction"])
    return chosen.groupby(by)["fraction"].agg(["mean", "min", "max", "count"])


def draw_floor(axes: Axes, floor: pd.DataFrame, linestyle: str = "-") -> None:
    """The random floor: a grey line through the mean of its repetitions, a band from the smallest to the largest.

    Args:
        axes: where to draw.
        floor: what `means` returned for it.
        linestyle: of the line.
    """
    axes.fill_between(floor.index, floor["min"], floor["max"], color=styles.FLOOR, alpha=0.3, linewidth=0, zorder=1)
    draw_floor_line(axes, floor.index, floor["mean"], linewidth=1.6, linestyle=linestyle)


def draw_tied(axes: Axes, rows: pd.DataFrame) -> list[Line2D]:
    """The other floor of "same counterpart", dashed: see `match.overlap_tables.tied`. Returns its key entries."""
    tied = means(rows, source="tied", latents="all")
    if tied.empty:
        return []
    line = draw_floor_line(axes, tied.index, tied["mean"], **TIED_LINE)
    return [styles.mark(TIED, color=styles.FLOOR, marker=line.get_marker(), markersize=12, **TIED_LINE)]


def draw_floor_line(axes: Axes, x: Sequence, mean: Sequence, **look) -> Line2D:
    """A grey line behind everything else; a dash where it has one point only."""
    marker = "_" if len(x) == 1 else None
    (line,) = axes.plot(x, mean, color=styles.FLOOR, marker=marker, markersize=12, zorder=1, **look)
    return line


def draw_pairs(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """Every pair of this run as a dot, with a line through the means: all latents filled, live ones hollow, dashed."""
    looks = (("all", {"linewidth": 1.2}, ALL_DOT, -APART), ("live", LIVE_LINE, LIVE_DOT, APART))
    for latents, line, dot, points in looks:
        pairs = rows_where(rows, source="trained", latents=latents).dropna(subset=["fraction"])
        mean = means(pairs)
        look = {"color": colour, "transform": shifted(axes, points)}
        axes.plot(mean.index, mean["mean"], zorder=3, **look, **line)
        axes.plot(pairs["x"], pairs["fraction"], linestyle="none", zorder=4, **look, **dot)


def shifted(axes: Axes, points: float) -> Transform:
    """Data coordinates moved right by `points`, so that two series at one value stand side by side."""
    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def draw_published(axes: Axes, rows: pd.DataFrame, *, filled: bool = True, size: float = 4.0) -> None:
    """The paper's values: black squares of `size` points and a dotted line."""
    axes.plot(
        rows["x"],
        rows["fraction"],
        color=styles.PUBLISHED,
        markerfacecolor=_face(filled),
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


def live_key() -> Line2D:
    """Key entry of live latents, where each colour has its own entry."""
    return styles.mark("live latents only", color=styles.NEUTRAL, **LIVE_LINE, **LIVE_DOT)


def floor_key() -> Line2D:
    """Key entry of the random floor."""
    return styles.mark("random floor", color=styles.FLOOR, linewidth=1.6)


def published_key(definition: str, *, filled: bool = True) -> Line2D:
    """Key entry of a published series, with the definition of "found" that it uses."""
    look = {"color": styles.PUBLISHED, "markerfacecolor": _face(filled), **PUBLISHED_LINE, **PUBLISHED_DOT}
    return styles.mark(f"{published.MODEL} ({definition})", **look)


def _face(filled: bool) -> str:
    return styles.PUBLISHED if filled else "white"
