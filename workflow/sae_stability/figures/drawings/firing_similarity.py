"""The figure `firing-similarity`: how often a latent fires against its similarity across seeds."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import FIRING_MEAN, PAPER
from sae_stability.figures.selection import rows_where

_BINS = 25
_MOST_VECTOR_POINTS = 3000


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each latent that fired, coloured by its number of sharers, with stacked histograms at both sides."""
    latents = rows_where(table, row="latent").dropna(subset=["mean_cosine"])
    latents = latents[latents["fired"] > 0]
    floor = rows_where(table, row="mean", source="floor")["mean_cosine"]
    picture = styles.figure(style, 3.9)
    grid = picture.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4))
    axes = picture.add_subplot(grid[1, 0])
    top, right = picture.add_subplot(grid[0, 0], sharex=axes), picture.add_subplot(grid[1, 1], sharey=axes)
    n_others = int(rows_where(table, row="latent")["n_others"].max())
    colours = LinearSegmentedColormap.from_list("sharers", style["palette"][:2])(np.linspace(0, 1, n_others + 1))
    groups = [rows_where(latents, shared_with=number) for number in range(n_others + 1)]
    shrink = min(1.0, (_MOST_VECTOR_POINTS / max(len(latents), 1)) ** 0.5)
    for rows, colour in zip(groups, colours, strict=True):
        look = {"color": colour, "marker": "o", "markersize": 3 * shrink, "markeredgewidth": 0, "linestyle": "none"}
        axes.plot(rows["mean_cosine"], rows["fired"], alpha=0.75, rasterized=shrink < 1, **look)
    axes.set(yscale="log", xlabel="mean matched cosine", ylabel="rows in which the latent fires")
    _draw_histograms(top, right, groups, colours)
    handles = [
        styles.mark(_label(number, n_others), color=colour, linewidth=4) for number, colour in enumerate(colours)
    ]
    if len(floor):
        for panel in (axes, top):
            panel.axvline(floor.mean(), color=styles.FLOOR, linewidth=1.4)
        handles.append(styles.mark("random floor", color=styles.FLOOR, linewidth=1.4))
    handles += _draw_published(axes, rows_where(table, source="published"), latents["fired"].mean())
    styles.key(picture, handles, columns=2)
    return picture


def _draw_published(axes: Axes, rows: pd.DataFrame, mean_fired: float) -> list[Line2D]:
    """The paper's two clusters as boxes, at the same multiples of the mean number of firings; returns the key entry."""
    if rows.empty or not mean_fired > 0:
        return []
    look = {"color": styles.PUBLISHED, "linewidth": 0.9, "linestyle": (0, (3, 1.5))}
    for _, ends in rows.groupby("shared_with"):
        (left, right), (low, high) = ends["mean_cosine"], ends["fired"] / FIRING_MEAN * mean_fired
        axes.plot([left, right, right, left, left], [low, low, high, high, low], zorder=5, **look)
    return [styles.mark(f"{PAPER}", **look)]


def _draw_histograms(top: Axes, right: Axes, groups: list[pd.DataFrame], colours: np.ndarray) -> None:
    """Latents by similarity (above) and by firing count (right), those of each number of sharers on the ones before."""
    every = pd.concat(groups)
    if every.empty:
        return
    cosines = np.linspace(min(0.0, every["mean_cosine"].min()), 1, _BINS + 1)
    counts = np.geomspace(every["fired"].min(), every["fired"].max() + 1, _BINS + 1)
    look = {"stacked": True, "color": list(colours)}
    top.hist([rows["mean_cosine"] for rows in groups], bins=cosines, **look)
    right.hist([rows["fired"] for rows in groups], bins=counts, orientation="horizontal", **look)
    top.tick_params(labelbottom=False)
    right.tick_params(labelleft=False)
    top.set_ylabel("latents")
    right.set_xlabel("latents")


def _label(number: int, n_others: int) -> str:
    """What a colour stands for."""
    return {0: "shared with none", n_others: f"with all {n_others}"}.get(number, f"with {number}")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    latents = rows_where(table, row="latent")
    first = latents.iloc[0]
    fired = latents[latents["fired"] > 0]
    floor = rows_where(table, row="mean", source="floor")["mean_cosine"]
    groups = [
        f"{_label(number, first['n_others'])}: n = {len(rows):,}, median {rows['fired'].median():,.0f} (quartiles "
        f"{rows['fired'].quantile(0.25):,.0f} to {rows['fired'].quantile(0.75):,.0f})"
        for number, rows in fired.groupby("shared_with")
    ]
    sentences = [
        f"Each dot is a latent of seed {first['seed']} of cohort {phrases.escape(first['cohort'])}: in how many of "
        f"{first['n_rows']:,} held-out rows it fires, and its similarity, the mean over the "
        f"{first['n_others']} other "
        "SAEs of the matched decoder and encoder cosine. Colour: how many of them share it.",
        f"Rows by number of sharers: {'; '.join(groups) or 'no latent is live'}. "
        f"{phrases.count(len(latents) - len(fired), 'latent')} never "
        "fired (not live) and cannot be drawn.",
        f"The random floor of the similarity is {floor.mean():.2f} (n = {phrases.count(len(floor), 'repetition')}, "
        f"{floor.min():.2f} to {floor.max():.2f})."
        if len(floor)
        else "No random floor was computed.",
        phrases.definition(first["threshold"]),
    ]
    if len(rows_where(table, source="published")):
        sentences.append(
            f"Boxes: where latents gather in {PAPER}, Figure 3, Pythia-160M, read off the plot and drawn at the same "
            "multiples of the mean number of firings: on the left those of one SAE alone, on the right those "
            "shared with all 8 others."
        )
    return " ".join(sentences)
