"""The figure `functional`: correlation and Jaccard index of matched latents' activations, by matched cosine."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, over_pairs
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

STATISTICS = {"correlation": "correlation of activations", "jaccard": "Jaccard index of firings"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A panel for each of the two statistics: the mean over pairs at every cosine, and the floor."""
    picture = styles.figure(style, 2.7)
    panels = picture.subplots(1, 2, sharey=True)
    threshold = table["threshold"].iloc[0]
    for axes, (statistic, label), colour in zip(panels, STATISTICS.items(), style["palette"], strict=False):
        _draw_panel(axes, rows_where(table, statistic=statistic), colour, threshold)
        axes.set_title(label.partition(" of ")[0])
    panels[0].set(ylabel="mean over live latents", ylim=(-0.05, 1.03))
    picture.supxlabel("matched decoder cosine", fontsize=style["font_size"])
    handles = [
        styles.mark("mean over pairs, and their range", color=styles.NEUTRAL, marker="o", markersize=3),
        styles.mark("over all cosines: live / all latents", color=styles.NEUTRAL, linewidth=0.8, linestyle="--"),
        styles.mark("counterparts in random order", color=styles.FLOOR, linewidth=1.6),
        styles.mark("threshold", **marks.THRESHOLD_LINE, linewidth=0.6),
    ]
    styles.key(picture, handles)
    return picture


def _draw_panel(axes: Axes, rows: pd.DataFrame, colour: str, threshold: float) -> None:
    run = rows_where(rows, source="trained")
    curve = run.dropna(subset=["x", "value"])
    over_pairs.draw_curve(axes, curve, by="x", x="x", color=colour)
    for latents, line in (("live", "--"), ("all", ":")):
        mean = rows_where(run, latents=latents)
        mean = mean[mean["x"].isna()]["value"].mean()
        axes.axhline(mean, color=colour, linewidth=0.8, linestyle=line, zorder=1)
    floor = rows_where(rows, source="floor", latents="live")["value"]
    axes.axhspan(floor.min(), floor.max(), color=styles.FLOOR, alpha=0.3, linewidth=0)
    axes.axhline(floor.mean(), color=styles.FLOOR, linewidth=1.6, zorder=1)
    axes.axvline(threshold, linewidth=0.6, zorder=0, **marks.THRESHOLD_LINE)
    axes.set(xlim=(min(0.0, curve["x"].min() - 0.05) if len(curve) else 0.0, 1.0))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run, floor = rows_where(table, source="trained"), rows_where(table, source="floor")
    rank = over_pairs.mean_in_words(rows_where(run, statistic="rank correlation"), "{:.2f}")
    threshold = table["threshold"].iloc[0]
    said = []
    for statistic, label in STATISTICS.items():
        over_all = rows_where(run[run["x"].isna()], statistic=statistic)
        values = {name: over_pairs.mean_in_words(part, "{:.2f}") for name, part in over_all.groupby("latents")}
        chance = over_pairs.mean_in_words(rows_where(floor, statistic=statistic, latents="live"), "{:.3f}")
        said.append(
            f"{label}: shared latents {values['shared']}, unshared live ones {values['unshared']}, live latents "
            f"{values['live']}, all latents {values['all']}; counterparts in random order give {chance}"
        )
    spread = "bands are their range, square brackets 95% intervals from a bootstrap over seeds"
    pairs = over_pairs.pairs_in_words(run, spread=spread)
    dots = run.dropna(subset=["x"])["n"]
    numbers = f"; a dot stands for {phrases.count_range(dots)} latents of a pair" if len(dots) else ""
    return " ".join(
        [
            f"Do latents with similar decoder rows fire together? Mean {'. Mean '.join(said)}.",
            f"Rank correlation of cosine and correlation over live latents: {rank}.",
            f"{pairs}{numbers}.",
            "Latents are matched by their decoder rows; where one of the two never fires, both measures count as 0 "
            "among all latents.",
            phrases.definition(threshold),
        ]
    )
