"""The figure `substitution`: what a latent's counterpart is worth in its place, and the error as more are swapped."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

GROUPS = ("shared", "unshared")
FEWEST = 5  # latents of a bin, over all pairs, for a mean that is drawn
CURVES = ("ablation", "swap", "floor")


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Above, quality by matched cosine; below, FVU by the part of latents that is changed. Bands: 95 % over seeds."""
    picture = styles.figure(style, 4.8)
    above, below = picture.subplots(2, 1)
    colours = style["palette"]
    handles = []
    for group, colour in zip(GROUPS, colours, strict=False):
        _line(above, _of(table, "cosine", group), colour, marker="o", markersize=3)
        handles.append(styles.mark(group, color=colour, marker="o", markersize=3))
    _line(above, _of(table, "cosine", "random latent"), styles.FLOOR)
    above.axhline(0, linewidth=0.5, color=styles.NEUTRAL)
    above.axvline(table["threshold"].iloc[0], linewidth=0.6, zorder=0, **marks.THRESHOLD_LINE)
    above.set(xlabel="decoder cosine with the counterpart", ylabel="quality of substitution", ylim=(-1.55, 1.05))
    handles.append(styles.mark("random latent in its place", color=styles.FLOOR))
    for change, colour in zip(("ablation", "swap", "floor"), (colours[2], colours[0], styles.FLOOR), strict=True):
        _line(below, _of(table, "curve", change), colour, linestyle="--" if change == "ablation" else "-")
    handles.append(styles.mark("taken away (below)", color=colours[2], linestyle="--"))
    handles.append(styles.mark("swapped (below)", color=colours[0]))
    styles.fraction_axis(below.xaxis)
    below.set(xlabel="latents changed, best matched first", ylabel="FVU", ylim=(0, None))
    styles.key(picture, handles, columns=2)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    pairs = table.groupby(["a", "b"]).ngroups
    quality = {group: _number(_of(table, "all", group)) for group in (*GROUPS, "random latent")}
    area = {change: _number(_of(table, "area", change), 3) for change in CURVES}
    sizes = table[table["panel"] == "all"].groupby("group")["n"].sum()
    return " ".join(
        [
            f"What a latent's counterpart in another SAE is worth in its place, mean over n = "
            f"{phrases.count(pairs, 'pair')} with 95% intervals from a bootstrap over seeds.",
            "Quality is 1 - (rise of the squared error when the latent's contribution is swapped for its "
            "counterpart's) / (rise when it is taken away), both summed over the latents: 1 is as good as the latent "
            "itself, 0 no better than nothing, below 0 harm.",
            f"Shared latents (n = {sizes.get('shared', 0):,} over all pairs): {quality['shared']}; unshared "
            f"(n = {sizes.get('unshared', 0):,}): {quality['unshared']}; the floor, a random latent of the other SAE "
            f"in its place: {quality['random latent']}. Only live latents are counted; means over fewer than "
            f"{FEWEST} latents are not drawn, nor values below -1.5.",
            "Below, FVU as more and more latents are changed; its rise, averaged over the curve, is "
            f"{area['swap']} when swapped, {area['ablation']} when taken away, and {area['floor']} when swapped "
            "for random latents. Once all are swapped, the two are the same.",
            phrases.definition(table["threshold"].iloc[0]),
        ]
    )


def _of(table: pd.DataFrame, panel: str, group: str) -> pd.DataFrame:
    return rows_where(table, panel=panel, group=group)


def _line(axes: Axes, rows: pd.DataFrame, colour: str, **look) -> None:
    kept = rows.groupby("x")["n"].transform("sum") >= FEWEST
    points = rows[kept].groupby("x")[["mean", "low", "high"]].first()
    axes.fill_between(points.index, points["low"], points["high"], color=colour, alpha=0.2, linewidth=0)
    axes.plot(points.index, points["mean"], color=colour, **look)


def _number(rows: pd.DataFrame, digits: int = 2) -> str:
    if rows.empty or pd.isna(rows["mean"].iloc[0]):
        return phrases.NOT_MEASURED
    mean, low, high = (rows[name].iloc[0] for name in ("mean", "low", "high"))
    bounds = "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f}{bounds}"
