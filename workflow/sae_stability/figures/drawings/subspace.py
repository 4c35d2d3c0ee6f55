"""The figure `subspace`: overlap of the subspaces of two seeds' unshared latents, beside that of random latents."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import over_pairs
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

LATENTS = {"all": "all latents", "live": "live latents only"}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """For all and for live latents: unshared ones above, random ones of the same number below."""
    picture = styles.figure(style, 2.3)
    axes = picture.add_subplot()
    colour = style["palette"][0]
    for place, latents in enumerate(LATENTS):
        rows = rows_where(table, latents=latents).dropna(subset=["value"])
        live = {"markerfacecolor": "white"} if latents == "live" else {}
        over_pairs.draw_row(axes, rows_where(rows, source="trained"), place - 0.15, colour, **live)
        over_pairs.draw_row(axes, rows_where(rows, source="floor"), place + 0.15, styles.FLOOR, **live)
    axes.set_yticks(range(len(LATENTS)), LATENTS.values())
    axes.set(ylim=(1.5, -0.5), xlabel="overlap of the two subspaces (1: the same)")
    axes.margins(x=0.08)
    handles = [
        styles.mark("unshared latents", color=colour, linewidth=1.8),
        styles.mark("random latents, as many", color=styles.FLOOR, linewidth=1.8),
        *over_pairs.key_of_mean(),
    ]
    styles.key(picture, handles)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    every = rows_where(table, latents="all")
    found = "; ".join(f"{words}, {_in_words(rows_where(table, latents=key))}" for key, words in LATENTS.items())
    return " ".join(
        [
            "Do the latents that two seeds do not share lie in the same subspace, as if each seed had cut the same "
            f"space in its own way? Overlap of the two subspaces: {found}.",
            over_pairs.pairs_in_words(every, spread="square brackets are 95% intervals from a bootstrap over seeds")
            + ".",
            "Each subspace holds half of the squared length of the unit decoder rows; overlap is the mean squared "
            "cosine of the angles between the two, from 0 to 1.",
            "Random latents, as many on each side, are drawn 20 times from all that count, shared ones included.",
            phrases.definition(table["threshold"].iloc[0]),
        ]
    )


def _in_words(rows: pd.DataFrame) -> str:
    unshared, random = rows_where(rows, source="trained"), rows_where(rows, source="floor")
    measured = unshared.dropna(subset=["value"])
    if measured.empty:
        return phrases.NOT_MEASURED
    sizes = f"{phrases.count_range(measured['n'])} a pair, in {phrases.count_range(measured['rank'])} dimensions"
    means = [over_pairs.mean_in_words(rows, "{:.2f}") for rows in (unshared, random)]
    return f"unshared ({sizes}) {means[0]}, random {means[1]}"
