"""The figure `pooling`: the change of FVU when another seed's latents stand beside an SAE's own."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

POOLS = ("all unshared", "unshared", "shared", "random directions")


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each pair, and the mean with its 95 % interval, for each pool."""
    picture = styles.figure(style, 2.4)
    axes = picture.add_subplot()
    for place, pool in enumerate(POOLS):
        rows = rows_where(table, pool=pool)
        colour = style["palette"][0] if "unshared" in pool else styles.FLOOR
        axes.plot(rows["value"], [place] * len(rows), "o", color=colour, markersize=3, alpha=0.4)
        if len(rows):
            mean, low, high = rows[["mean", "low", "high"]].iloc[0]
            axes.plot([mean], [place], "D", color=colour, markersize=5)
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
    axes.axvline(0, linewidth=0.6, color=styles.NEUTRAL)
    axes.locator_params(axis="x", nbins=4)
    axes.set(xlabel="change of FVU at the same L0", ylim=(len(POOLS) - 0.5, -0.5))
    axes.set_yticks(range(len(POOLS)), POOLS)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    alone = rows_where(table, pool="none")
    said = []
    for pool in POOLS:
        rows = rows_where(table, pool=pool)
        if len(rows):
            mean, low, high = rows[["mean", "low", "high"]].iloc[0]
            bounds = "" if pd.isna(low) else f" [{low:+.4f}, {high:+.4f}]"
            said.append(f"{pool} ({phrases.count_range(rows['n_added'])} latents) {mean:+.4f}{bounds}")
    return " ".join(
        [
            f"Change of FVU when latents of another seed stand beside an SAE's own, n = "
            f"{phrases.count(len(alone), 'pair')}; diamonds are means, with 95% intervals from a bootstrap over seeds: "
            f"{'; '.join(said) or phrases.NOT_MEASURED}.",
            f"On each row as many latents are kept as fire in the SAE alone (L0 {alone['l0'].mean():.1f}, FVU "
            f"{alone['fvu'].mean():.3f}), chosen among all that fire by orthogonal least squares; the SAE alone gets "
            "the same least squares.",
            "The controls have as many added latents as *unshared*: shared latents of the other seed, and random "
            "directions that fire where the unshared latents do. Only live latents can be chosen. More choice "
            "alone lowers the error, so what an added latent of the seed is worth is what goes below the controls.",
            phrases.definition(table["threshold"].iloc[0]),
        ]
    )
