"""The figure `joint`: matched decoder against matched encoder cosine of one pair, with marginal densities."""

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import JOINT, MODEL, PAPER
from sae_stability.figures.selection import rows_where

COSINES = ["cosine_decoder", "cosine_encoder"]
# The upper end of both axes.
HIGH = 1.03
# A cloud of more points is drawn as one bitmap inside SVG and PDF; as vectors it would take seconds to open.
MOST_VECTOR_POINTS = 3000
# Densities are estimated from at most this many latents (every n-th one): each costs a pass over the whole grid.
MOST_DENSITY_POINTS = 4000
# The outermost contour leaves out this part of a group.
OUTSIDE = 0.1


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each latent, coloured by same or different counterpart, with contours and marginals (densities)."""
    latents = rows_where(table, row="latent").dropna(subset=COSINES)
    low = min([-HIGH + 1, *(latents[COSINES].min() - 0.03)])
    picture = styles.figure(style, 4.0)
    grid = picture.add_gridspec(2, 2, width_ratios=(6, 1), height_ratios=(1, 6))
    axes = picture.add_subplot(grid[1, 0])
    top, right = picture.add_subplot(grid[0, 0], sharex=axes), picture.add_subplot(grid[1, 1], sharey=axes)
    # A larger cloud gets smaller, fainter dots, or the last ones drawn would hide all others.
    shrink = min(1.0, (MOST_VECTOR_POINTS / max(len(latents), 1)) ** 0.5)
    handles = []
    groups = ((True, "same counterpart"), (False, "different counterparts"))
    for (same, label), colour in zip(groups, style["palette"], strict=False):
        _draw_cloud(axes, rows_where(latents, same_counterpart=same), colour, shrink)
        handles.append(styles.mark(label, color=colour, linestyle="none", marker="o", markersize=4))
    _draw_densities(axes, top, right, latents, style["palette"], low)
    handles += [*_draw_dead(axes, latents, shrink), *_draw_means(axes, table)]
    _draw_threshold(axes, table["threshold"].iloc[0], style)
    axes.set(xlim=(low, HIGH), ylim=(low, HIGH), xlabel="matched decoder cosine", ylabel="matched encoder cosine")
    top.axis("off")
    right.axis("off")
    styles.key(picture, handles)
    return picture


def _draw_cloud(axes: Axes, rows: pd.DataFrame, colour: str, shrink: float) -> None:
    axes.plot(
        *(rows[column] for column in COSINES),
        color=colour,
        linestyle="none",
        marker="o",
        markersize=2.2 * shrink,
        markeredgewidth=0,
        alpha=0.5 * shrink,
        rasterized=shrink < 1,
    )


def _draw_densities(axes: Axes, top: Axes, right: Axes, latents: pd.DataFrame, palette: list[str], low: float) -> None:
    """Contours of each group, and marginals whose areas are the groups' parts of all latents."""
    data = latents.iloc[:: -(-len(latents) // MOST_DENSITY_POINTS) or 1]
    # A density needs at least three points.
    sizes = data.groupby("same_counterpart")["latent"].count()
    data = data[data["same_counterpart"].isin(sizes[sizes > 2].index)]
    if data.empty:
        return
    # Contours need points that do not lie on one line, as those of SAEs with tied weights do.
    flat = [same for same, rows in data.groupby("same_counterpart") if _on_a_line(rows[COSINES].to_numpy())]
    broad = data[~data["same_counterpart"].isin(flat)]
    groups = {"hue": "same_counterpart", "palette": {True: palette[0], False: palette[1]}}
    same = {"legend": False, "warn_singular": False, "common_norm": True, "bw_adjust": 0.7, "clip": (low, 1)}
    decoder, encoder = COSINES
    contours = {"levels": 5, "thresh": OUTSIDE, "gridsize": 100, "linewidths": 0.9, "zorder": 4}
    if len(broad):
        seaborn.kdeplot(broad, x=decoder, y=encoder, ax=axes, **contours, **groups, **same)
    seaborn.kdeplot(data, x=decoder, ax=top, fill=True, alpha=0.35, linewidth=0.9, **groups, **same)
    seaborn.kdeplot(data, y=encoder, ax=right, fill=True, alpha=0.35, linewidth=0.9, **groups, **same)


def _on_a_line(points: np.ndarray) -> bool:
    """Whether points (n, 2) lie on one line, but for rounding."""
    spreads = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spreads[1] <= 1e-6 * max(spreads[0], 1e-6))


def _draw_dead(axes: Axes, latents: pd.DataFrame, shrink: float) -> list[Line2D]:
    """Crosses over the dots that the fractions of live latents leave out; returns the key entries."""
    dead = latents[~(latents["alive"] & latents["counterpart_alive"])]
    if dead.empty:
        return []
    look = {"color": "#202020", "linestyle": "none", "marker": "x", "markersize": 2.4, "markeredgewidth": 0.5}
    small = look | {"markersize": 2.4 * shrink, "markeredgewidth": 0.5 * shrink, "alpha": shrink}
    axes.plot(*(dead[column] for column in COSINES), rasterized=shrink < 1, **small)
    return [styles.mark("latent or counterpart dead", **look)]


def _draw_means(axes: Axes, table: pd.DataFrame) -> list[Line2D]:
    """The means of the random floor and of the paper, as one mark each; returns the key entries."""
    floor, published = (rows_where(table, row="mean", source=source) for source in ("floor", "published"))
    floor_look = {"marker": "P", "markersize": 6.5, "markerfacecolor": styles.FLOOR, "linestyle": "none"}
    floor_look |= {"markeredgecolor": "white", "markeredgewidth": 0.7}
    published_look = {**marks.PUBLISHED_DOT, "markersize": 5.5, "color": styles.PUBLISHED, "linestyle": "none"}
    published_look |= {"markeredgecolor": "white"}
    handles = []
    for rows, label, look in (
        (floor, "random floor, mean", floor_look),
        (published, f"{MODEL}, mean", published_look),
    ):
        if len(rows):
            axes.plot(*(rows[column] for column in COSINES), zorder=6, **look)
            handles.append(styles.mark(label, **look))
    return handles


def _draw_threshold(axes: Axes, threshold: float, style: dict) -> None:
    """The corner in which both cosines reach the threshold."""
    corner = ([threshold, threshold, HIGH], [HIGH, threshold, threshold])
    axes.plot(*corner, linewidth=0.8, zorder=5, **marks.THRESHOLD_LINE)
    styles.label_beside(axes, f"{threshold:g}", (HIGH, threshold), style, styles.NEUTRAL, points=2)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    latents = rows_where(table, row="latent")
    threshold = latents["threshold"].iloc[0]
    first = latents.iloc[0]
    floors = rows_where(table, row="mean").rename(columns={"fraction_same": "fraction"})
    sentences = [
        f"Each dot is a latent of seed {phrases.escape(first['a'])} of cohort {phrases.escape(first['cohort'])} at its "
        f"matched decoder and encoder cosine in seed {phrases.escape(first['b'])} (n = "
        f"{phrases.count(len(latents), 'latent')} of n = 1 pair, so no spread can be given); the mean cosines are "
        f"{_means(latents)}.",
        f"{phrases.percent(latents['same_counterpart'].mean())} have the same counterpart by both assignments "
        f"({_live(latents, 'same_counterpart')}; {phrases.counterpart_floors(floors)}).",
        f"{phrases.percent(latents['shared'].mean())} are shared ({_live(latents, 'shared')}; "
        f"{phrases.random_floor(rows_where(floors, source='floor')['fraction_shared'])}){_floor(table)}.",
        phrases.definition(threshold),
    ]
    if len(rows_where(table, source="published")):
        sentences.append(
            f"Black square: mean of {PAPER}, Pythia-160M, Figure 1, where {phrases.percent(JOINT['same_counterpart'])} "
            f"have the same counterpart and {phrases.percent(JOINT['joint'])} are *joint*: both cosines above 0.7, "
            "whether or not the counterparts are the same."
        )
    return " ".join(sentences)


def _means(rows: pd.DataFrame) -> str:
    return " and ".join(f"{rows[column].mean():.2f}" for column in COSINES)


def _live(latents: pd.DataFrame, test: str) -> str:
    """The fraction of live latents that pass `test`, a column, with a live counterpart."""
    if not latents["live_measured"].any():
        return "live latents not measured"
    live = rows_where(latents, alive=True)
    if live.empty:
        return "no latent is live"
    found = (live[test] & live["counterpart_alive"]).mean()
    return f"{phrases.percent(found)} of the {len(live):,} live latents, with live counterparts"


def _floor(table: pd.DataFrame) -> str:
    floor = rows_where(table, row="mean", source="floor")
    if floor.empty:
        return ""
    return f"; random dictionaries of this shape match at mean cosines of {_means(floor)}"
