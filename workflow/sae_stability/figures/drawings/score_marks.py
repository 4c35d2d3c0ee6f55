"""What the figures of scores share: the axis of scores, the lines of chance, and their words."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sae_stability.figures import phrases
from sae_stability.figures.drawings import style as styles

DOT = {"marker": "o", "markersize": 3.2, "markeredgewidth": 0, "alpha": 0.55, "linestyle": "none"}
CHANCE_LINE = {"color": styles.FLOOR, "linewidth": 1.2}
BAR_LINE = {"color": styles.FLOOR, "linewidth": 1.0, "linestyle": (0, (4, 2))}
LABEL = "score (balanced accuracy)"


def draw_chance(axes: Axes, chance: pd.Series) -> list[Line2D]:
    """The mean of scores by other latents' explanations, and what 95 % of them do not exceed; returns the key."""
    if not chance["n"]:
        return []
    axes.axhline(chance["score"], zorder=1, **CHANCE_LINE)
    axes.axhline(chance["high"], zorder=1, **BAR_LINE)
    return [
        styles.mark("chance: another latent's explanation, mean", **CHANCE_LINE),
        styles.mark("95% of chance scores lie below", **BAR_LINE),
    ]


def chance_in_words(chance: pd.Series) -> str:
    """A sentence on what other latents' explanations score."""
    if not chance["n"]:
        return "No explanation of another latent was scored, so chance is unknown."
    return (
        f"Chance: explained by another latent's explanation, n = {phrases.count(int(chance['n']), 'latent')} score "
        f"{chance['score']:.2f} on average, and 95% of them at most {chance['high']:.2f}."
    )


def origin_in_words(first: pd.Series) -> str:
    """Where the scores come from, as a sentence."""
    against = {"random": "random texts in which the latent does not fire", "marks": "texts with other tokens marked"}
    return (
        f"Scores are balanced accuracy of scorer {phrases.escape(first['scorer'])} on explanations by "
        f"{phrases.escape(first['explainer'])}, against {against.get(first['negatives'], 'other texts')}, mean over "
        "draws, of live latents only."
    )


def nothing(threshold: float) -> str:
    """The caption of a figure without a score."""
    return (
        "No latent has a score: n = 0. A latent is scored if it is live and fires in enough texts, against "
        "random ones. "
        f"{phrases.definition(threshold)}"
    )


def estimate(value: float, low: float, high: float) -> str:
    """ "0.62 (95% interval 0.58 to 0.66)"."""
    if pd.isna(value):
        return phrases.NOT_MEASURED
    return f"{value:.2f} " + ("(no interval)" if pd.isna(low) else f"(95% interval {low:.2f} to {high:.2f})")
