"""The figure `interpolation`: error and L0 on the way from the smallest SAE of a chain to the largest."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import CANONICAL, GEMMA
from sae_stability.figures.selection import rows_where

PHASES = {"novel": "novel latents added", "swap": "components swapped", "unpartnered": "the rest taken out"}
_SQUARE = {"color": styles.PUBLISHED, "markerfacecolor": "white", "linestyle": "none", **marks.PUBLISHED_DOT}
_SQUARES = {CANONICAL: _SQUARE, GEMMA: _SQUARE | {"markerfacecolor": styles.PUBLISHED}}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Above the squared error, below L0, each as a ratio to the first SAE, against the number of latents."""
    picture = styles.figure(style, 4.6)
    panels = picture.subplots(2, 1, sharex=True)
    run = rows_where(table, source="trained")
    published = rows_where(table, source="published")
    published = published[published["x"] <= run["x"].max() * 1.01]
    colours = styles.colour_of_each(list(PHASES), style, figure="interpolation", noun="phases")
    for axes, column in zip(panels, ("relative_mse", "relative_l0"), strict=True):
        for _, pair in run.groupby("pair"):
            for phase, colour in colours.items():
                places = pair.index[pair["phase"] == phase]
                if len(places):
                    # A phase goes on from the last step before it.
                    rows = pair.loc[places[0] - 1 : places[-1]]
                    axes.plot(rows["x"], rows[column], color=colour)
            ends = pair.iloc[[0, -1]]
            axes.plot(ends["x"], ends[column], color=style["palette"][0], linestyle="none", marker="o", markersize=4)
        for series, look in _SQUARES.items():
            rows = rows_where(published, series=series)
            axes.plot(rows["x"], rows[column], **look)
    panels[0].set_ylabel("squared error")
    panels[1].set(xlabel="latents (ratio to the first SAE)", ylabel="L0")
    handles = [styles.mark("an SAE of the chain", color=style["palette"][0], linestyle="none", marker="o")]
    handles += [styles.mark(PHASES[phase], color=colour) for phase, colour in colours.items()]
    handles += [styles.mark(name, **look) for name, look in _SQUARES.items() if name in set(published["series"])]
    styles.key(picture, handles)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    run = rows_where(table, source="trained")
    said = [_pair_in_words(number, pair) for number, pair in run.groupby("pair")]
    published = rows_where(table, source="published")
    others = ""
    if len(published):
        ends = rows_where(published, phase="whole")["mse"].iloc[[0, -1]]
        gemma = rows_where(published, series=GEMMA)["mse"]
        others = (
            f" Squares, as far as they fit: whole SAEs of {phrases.escape(CANONICAL)}, from 768 latents (error "
            f"{ends.iloc[0]:g}) to 12,288 (error {ends.iloc[1]:g}), and between them L0 with all novel latents; and "
            f"{phrases.escape(GEMMA)}, from 16,384 latents (error {gemma.iloc[0]:g}) over all novel ones "
            f"({gemma.iloc[1]:g}) and one large swap ({gemma.iloc[2]:g}) to 32,768 ({gemma.iloc[3]:g}); what "
            "is said of Gemma, and L0 between SAEs, is read off the plots."
        )
    return (
        "From the smallest SAE of a chain to the largest: squared error and L0 as ratios to the first SAE. "
        f"{' '.join(said)} Novel latents have no decoder cosine of {run['threshold'].iloc[0]:g} or more with the "
        "smaller SAE; then each component of similar latents is swapped; last, the smaller SAE's latents without a "
        f"partner are taken out, and the larger SAE is left{_bias(run['bias'].iloc[0])}.{others}"
    )


def _bias(rule: str) -> str:
    return ", but with the decoder bias of the smaller one" if rule == "small" else ""


def _pair_in_words(number: int, pair: pd.DataFrame) -> str:
    small, large = (phrases.escape(pair[side].iloc[0]) for side in ("small", "large"))
    parts = [f"{pair['fvu'].iloc[0]:.4f} at the start"]
    for phase, words in PHASES.items():
        rows = rows_where(pair, phase=phase)
        if len(rows):
            parts.append(f"{rows['fvu'].iloc[-1]:.4f} after {phrases.count(len(rows), 'step')} of {words}")
    added = rows_where(pair, phase="novel")
    lowest = f"; the lowest on the way is {pair['fvu'].min():.4f}" if len(added) else ""
    return f"Pair {number} ({small} to {large}), n = {pair['step'].max():,} steps, FVU: {', '.join(parts)}{lowest}."
