"""The figure `predictors`: which properties of a latent go with being shared."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sae_stability.figures import phrases
from sae_stability.figures.drawings import over_pairs
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

NAMES = {
    "log_rate": "firing rate (log10)",
    "token_entropy": "token entropy (bits)",
    "encoder_norm": "encoder norm",
    "initial_distance": "distance to initial value",
    "decoder_density": "decoder density",
}
# As a label in the picture.
_TWO_LINES = {
    "log_rate": ("firing rate", "(log10)"),
    "token_entropy": ("token entropy", "(bits)"),
    "encoder_norm": ("encoder", "norm"),
    "initial_distance": ("distance to", "initial value"),
    "decoder_density": ("decoder", "density"),
}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Above, the coefficients of the regression; below, the shared fraction at each tenth of each predictor."""
    picture = styles.figure(style, 5.2)
    grid = picture.add_gridspec(3, 6, height_ratios=(1.7, 1, 1))
    fitted = rows_where(table, statistic="coefficient")
    names = [name for name in NAMES if name in set(table["predictor"])]
    _draw_coefficients(picture.add_subplot(grid[0, :]), fitted, names, style)
    first = None
    for place, name in enumerate(names):
        row, column = 1 + place // 3, 2 * (place % 3)
        axes = picture.add_subplot(grid[row, column : column + 2], sharey=first)
        first = first or axes
        _draw_curve(axes, table, name, style["palette"][0])
        axes.tick_params(labelleft=column == 0)
    if first is not None:
        highest = rows_where(table, statistic="shared")["value"].max()
        styles.fraction_axis(first.yaxis, limit=min(1.0, max(1.1 * highest, 0.1)))
        first.set_ylabel("shared fraction")
    handles = [
        styles.mark("being shared", color=style["palette"][0], linewidth=1.8),
        styles.mark("outcomes in random order", color=styles.FLOOR, linewidth=1.8),
        styles.mark("all live latents", color=styles.NEUTRAL, linewidth=0.8, linestyle="--"),
        styles.mark("random floor", color=styles.FLOOR, linewidth=1.2),
    ]
    styles.key(picture, handles, columns=2)
    return picture


def _draw_coefficients(axes: Axes, fitted: pd.DataFrame, names: list[str], style: dict) -> None:
    for place, name in enumerate(names):
        rows = rows_where(fitted, predictor=name)
        over_pairs.draw_row(axes, rows_where(rows, source="trained"), place - 0.16, style["palette"][0])
        over_pairs.draw_row(axes, rows_where(rows, source="shuffled"), place + 0.16, styles.FLOOR)
    axes.axvline(0, linewidth=0.6, color=styles.NEUTRAL, zorder=0)
    axes.set_yticks(range(len(names)), ["\n".join(_TWO_LINES[name]) for name in names])
    axes.set(ylim=(max(len(names), 1) - 0.5, -0.5), xlabel="log odds for one standard deviation")


def _draw_curve(axes: Axes, table: pd.DataFrame, name: str, colour: str) -> None:
    curve = rows_where(table, statistic="shared", predictor=name)
    over_pairs.draw_curve(axes, curve, by="quantile", x="x", color=colour)
    whole = rows_where(table, statistic="fraction")
    overall = rows_where(whole, source="trained", latents="live")["value"].mean()
    axes.axhline(overall, color=styles.NEUTRAL, linewidth=0.8, linestyle="--", zorder=1)
    axes.axhline(rows_where(whole, source="floor", latents="all")["value"].mean(), color=styles.FLOOR, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(2))
    axes.set_xlabel("\n".join(_TWO_LINES[name]))


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    fitted, whole = rows_where(table, statistic="coefficient"), rows_where(table, statistic="fraction")
    run = rows_where(fitted, source="trained")
    largest = run.groupby("predictor")["mean"].first().abs().sort_values(ascending=False).index
    said = [f"{NAMES[name]} {over_pairs.mean_in_words(rows_where(run, predictor=name), '{:+.2f}')}" for name in largest]
    shuffled = rows_where(fitted, source="shuffled")["mean"]
    ends = f"{shuffled.min():+.2f} to {shuffled.max():+.2f}"
    chance = f" (with outcomes in random order {ends})" if len(shuffled) else ""
    fractions = {
        latents: phrases.percent(rows_where(whole, source="trained", latents=latents)["value"].mean())
        for latents in ("all", "live")
    }
    floor = phrases.random_floor(rows_where(whole, source="floor", latents="all")["value"])
    pairs = over_pairs.pairs_in_words(
        rows_where(whole, source="trained"),
        spread="square brackets are 95% intervals from a bootstrap over seeds, bands the range over pairs",
    )
    return " ".join(
        [
            f"What goes with being shared: change of the log odds for one standard deviation of each property, the "
            f"others held fixed: {', '.join(said) or phrases.NOT_MEASURED}{chance}.",
            f"One logistic regression for each pair, over the live latents of both SAEs, n = "
            f"{phrases.count_range(run['n']) if len(run) else 0} latents; {pairs}.",
            f"Shared are {fractions['live']} of live and {fractions['all']} of all latents; {floor}.",
            "Below: the shared fraction at each tenth of each property alone.",
            "Distance to the initial value is 1 - cosine of the decoder row with itself before training; density is "
            "the mean cosine to the 10 nearest other decoder rows of the same SAE.",
            phrases.definition(table["threshold"].iloc[0]),
        ]
    )
