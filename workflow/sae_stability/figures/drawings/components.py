"""The figure `components`: how the latents of a small and a large SAE correspond."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

CLASSES = {
    "one to one": "one latent of each",
    "split": "one small, several large",
    "several small": "several small",
    "novel": "novel (large only)",
    "small only": "small only",
}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A bar for each pair, cut by kind of component; the published one below, without the first cut."""
    bars = [(f"pair {number}", rows) for number, rows in rows_where(table, source="trained").groupby("pair")]
    published = rows_where(table, source="published")
    if len(published):
        bars.append(("GPT-2", published))
    picture = styles.figure(style, 1.3 + 0.35 * len(bars))
    axes = picture.subplots()
    colours = styles.colour_of_each(list(CLASSES), style, figure="components", noun="kinds of components")
    for place, (_, rows) in enumerate(bars):
        left = 0.0
        for kind, colour in colours.items():
            # Published counts do not tell the first two kinds apart.
            some = rows[rows["kind"].isin((kind, "one small") if kind == "one to one" else (kind,))]
            width = some["fraction"].sum()
            axes.barh(place, width, left=left, color=colour, height=0.7)
            left += width
    axes.set_yticks(range(len(bars)), [label for label, _ in bars])
    axes.set(ylim=(len(bars) - 0.5, -0.5), xlabel="part of the components")
    styles.fraction_axis(axes.xaxis)
    square = {"linestyle": "none", "marker": "s", "markersize": 5}
    styles.key(
        picture, [styles.mark(CLASSES[kind], color=colour, **square) for kind, colour in colours.items()], columns=2
    )
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run = rows_where(table, source="trained")
    said = []
    for number, pair in run.groupby("pair"):
        small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
        counts = pair.groupby("kind")["components"].sum()
        words = "; ".join(f"{name}: {counts[kind]:,}" for kind, name in CLASSES.items() if counts.get(kind))
        share = phrases.percent(pair["largest_component_share"].iloc[0])
        said.append(
            f"Pair {number} ({small} and {large}), n = {counts.sum():,}: {words}; the largest component "
            f"holds {share} of all latents."
        )
    published = rows_where(table, source="published").set_index("kind")["components"]
    others = ""
    if len(published):
        others = (
            f" Published (Leask et al. 2025, GPT-2, 768 and 1,536 latents): {published['one small']} with one small "
            f"latent (in one colour), {published['several small']} with several, {published['novel']} novel, "
            f"{published['small only']} of the small SAE alone."
        )
    return (
        "Components of the latents of a smaller and a larger SAE: an edge joins two whose decoder cosine is at least "
        f"{run['threshold'].iloc[0]:g}. {' '.join(said)} Several large latents beside one small one are a split; "
        "several small ones beside one large one are composed in it. Small latents without an edge have "
        f"nothing that similar in the larger SAE.{others}"
    )
