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
    """A bar for each pair and its live latents, cut by kind of component; the published one below."""
    run = rows_where(table, source="trained")
    bars = [
        (f"pair {number}" if latents == "all" else "live", rows)
        for (number, latents), rows in run.groupby(["pair", "latents"])
    ]
    published = rows_where(table, source="published")
    if len(published):
        bars.append(("GPT-2", published))
    picture = styles.figure(style, 1.3 + 0.35 * len(bars))
    axes = picture.subplots()
    colours = styles.colour_of_each(list(CLASSES), style, figure="components", noun="kinds of components")
    for place, (_, rows) in enumerate(bars):
        left = 0.0
        for kind, colour in colours.items():
            width = rows_where(rows, kind=kind)["fraction"].sum()
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
    said = [_pair_in_words(number, pair) for number, pair in run.groupby("pair")]
    published = rows_where(table, source="published")
    others = ""
    if len(published):
        others = f" Published (Leask et al. 2025, GPT-2, 768 and 1,536 latents): {_counts_in_words(published)}."
    return (
        "Components of the latents of a smaller and a larger SAE: an edge joins two whose decoder cosine is at least "
        f"{run['threshold'].iloc[0]:g}. {' '.join(said)} Several large latents beside one small one are a split; "
        "several small ones beside one large one are composed in it. Small latents without an edge have "
        f"nothing that similar in the larger SAE.{others}"
    )


def _pair_in_words(number: int, pair: pd.DataFrame) -> str:
    small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
    every, live = (rows_where(pair, latents=latents) for latents in ("all", "live"))
    share = phrases.percent(every["largest_component_share"].iloc[0])
    text = (
        f"Pair {number} ({small} and {large}), n = {every['components'].sum():,}: {_counts_in_words(every)}; the "
        f"largest component holds {share} of all latents"
    )
    return f"{text}; of live latents alone: {_counts_in_words(live)}." if len(live) else f"{text}."


def _counts_in_words(rows: pd.DataFrame) -> str:
    counts = rows.groupby("kind")["components"].sum()
    return "; ".join(f"{name}: {counts[kind]:,}" for kind, name in CLASSES.items() if counts.get(kind))
