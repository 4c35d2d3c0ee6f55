"""The figure `thresholds`: how the fractions depend on the threshold on the cosine."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import MODEL
from sae_stability.figures.selection import rows_where

STATISTICS = (("shared", "shared"), ("joint", "joint"), ("max", "max cosine"))
_FLOOR_LINES = {"shared": "-", "joint": "--", "max": ":"}
_PUBLISHED_DOT = {"linestyle": "none", "markerfacecolor": "none", **marks.PUBLISHED_DOT}
# Where the caption reads the curves off, beside the study's own threshold.
READ_AT = (0.5, 0.9)


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Mean over pairs of three definitions against the threshold, their range as a band, and the paper's values."""
    picture = styles.figure(style, 3.2)
    axes = picture.add_subplot()
    handles = []
    for (statistic, label), colour in zip(STATISTICS, style["palette"], strict=False):
        _draw_statistic(axes, rows_where(table, statistic=statistic), colour, _FLOOR_LINES[statistic])
        handles.append(styles.mark(label, color=colour))
    handles.append(styles.mark("live only", color=styles.NEUTRAL, **marks.LIVE_LINE))
    handles.append(styles.mark("random floor (joint --, max ··)", color=styles.FLOOR, linewidth=1.6))
    if len(rows_where(table, source="published")):
        handles.append(styles.mark(MODEL, color=styles.NEUTRAL, **_PUBLISHED_DOT))
    _draw_chosen(axes, table["chosen"].iloc[0])
    styles.fraction_axis(axes.yaxis)
    axes.set(xlim=(0, 1), xlabel="threshold on the cosine", ylabel="fraction of latents")
    styles.key(picture, handles, columns=2)
    return picture


def _draw_chosen(axes: Axes, chosen: float) -> None:
    """A dashed line at the study's own threshold."""
    axes.axvline(chosen, linewidth=0.6, zorder=0, **marks.THRESHOLD_LINE)
    axes.annotate(f"{chosen:g}", (chosen, 1.04), ha="center", va="bottom", color=styles.NEUTRAL, annotation_clip=False)


def _draw_statistic(axes: Axes, rows: pd.DataFrame, colour: str, floor_line: str) -> None:
    marks.draw_floor(axes, marks.means(rows, "threshold", source="floor", latents="all"), floor_line)
    every = marks.means(rows, "threshold", source="trained", latents="all")
    axes.fill_between(every.index, every["min"], every["max"], color=colour, alpha=0.2, linewidth=0)
    axes.plot(every.index, every["mean"], color=colour)
    live = marks.means(rows, "threshold", source="trained", latents="live")
    axes.plot(live.index, live["mean"], color=colour, **marks.LIVE_LINE)
    published = rows_where(rows, source="published")
    axes.plot(published["threshold"], published["fraction"], color=colour, zorder=4, **_PUBLISHED_DOT)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    trained = rows_where(table, source="trained")
    chosen = table["chosen"].iloc[0]
    number = trained.groupby(["a", "b"]).ngroups
    spread = "with bands from the lowest to the highest" if number > 1 else "so no spread can be given"
    readings = "; ".join(
        f"at {threshold:g}, {_reading(trained, threshold)}" for threshold in sorted({*READ_AT, chosen})
    )
    floor = rows_where(table, source="floor", latents="all", statistic="shared")
    sentences = [
        f"Fraction of latents by the threshold on the cosine, mean over n = {phrases.count(number, 'pair')}, {spread}: "
        f"{readings}.",
        phrases.definition(chosen),
        "The dashed line is at this threshold.",
        "*Joint* does not ask for the same counterpart; *max cosine* takes each latent's nearest partner, which other "
        "latents may take too.",
        f"For *shared* at {chosen:g}, {phrases.random_floor(_at(floor, chosen)['fraction'])}{_floor_ends(table)}.",
    ]
    if len(rows_where(table, source="published")):
        sentences.append(f"Squares: {MODEL}, layer 6 MLP, 32,768 latents (appendix), in the colour of the definition.")
    return " ".join(sentences)


def _at(rows: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The rows at the grid point nearest to a threshold."""
    if rows.empty:
        return rows
    distance = (rows["threshold"] - threshold).abs()
    return rows[distance <= distance.min() + 1e-9]


def _reading(trained: pd.DataFrame, threshold: float) -> str:
    rows = _at(trained, threshold)
    values = [
        f"{label} {phrases.percent(rows_where(rows, statistic=statistic, latents='all')['fraction'].mean())}"
        for statistic, label in STATISTICS
    ]
    live = rows_where(rows, statistic="shared", latents="live")["fraction"].mean()
    return f"{', '.join(values)} (live latents only, shared: {phrases.percent(live)})"


def _floor_ends(table: pd.DataFrame) -> str:
    """The highest threshold at which random dictionaries still give more than 1% by the loosest definition."""
    mean = marks.means(table, "threshold", source="floor", latents="all", statistic="max")["mean"]
    if mean.empty:
        return ""
    above = mean.index[mean > 0.01]
    if above.empty:
        return ", and no definition gives more than 1% with random dictionaries at any threshold"
    return f"; random dictionaries reach more than 1% by max cosine up to a threshold of {above.max():g}"
