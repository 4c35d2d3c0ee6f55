"""The figure `score-sharers`: scores of explanations by the number of other SAEs that share the latent."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, score_marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER
from sae_stability.figures.selection import rows_where

# Width over which the dots of one number of sharers are spread, as a part of the distance between two numbers.
_WIDTH = 0.5


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each latent, the means with their intervals, what chance gives, and the paper's means."""
    own = rows_where(table, source="trained", explained_by="own")
    latents, means = rows_where(own, row="latent"), rows_where(own, row="mean")
    published = rows_where(table, source="published")
    picture = styles.figure(style, 3.1)
    axes = picture.subplots()
    colour = style["palette"][0]
    n_others = int(means["n_others"].max()) if len(means) else 1
    _draw_latents(axes, latents, colour, n_others)
    axes.errorbar(
        means["shared_with"] / means["n_others"],
        means["score"],
        yerr=[means["score"] - means["low"], means["high"] - means["score"]],
        color=style["palette"][1],
        linestyle="none",
        marker="D",
        markersize=4.5,
        capsize=2.5,
        zorder=5,
    )
    handles = [
        styles.mark("latent", color=colour, **score_marks.DOT),
        styles.mark("mean, 95% interval", color=style["palette"][1], marker="D", markersize=4.5, linestyle="none"),
    ]
    handles += score_marks.draw_chance(axes, rows_where(table, row="chance").iloc[0])
    if len(published):
        look = {"color": styles.PUBLISHED, **marks.PUBLISHED_LINE, **marks.PUBLISHED_DOT}
        axes.plot(published["shared_with"] / published["n_others"], published["score"], zorder=4, **look)
        handles.append(styles.mark(f"{PAPER}, mean (9 SAEs)", **look))
    axes.set(xlabel="other SAEs that share the latent", ylabel=score_marks.LABEL, xlim=(-0.15, 1.15))
    axes.set_ylim(min(0.45, latents["score"].min() - 0.03), 1.02)
    places = [*range(n_others + 1)]
    axes.set_xticks([place / n_others for place in places], [f"{place}/{n_others}" for place in places])
    styles.key(picture, handles)
    return picture


def _draw_latents(axes: Axes, latents: pd.DataFrame, colour: str, n_others: int) -> None:
    """The dots of each number of sharers side by side, in the order of the table."""
    order = latents.groupby("shared_with").cumcount()
    size = latents.groupby("shared_with")["latent"].transform("size")
    shift = ((order + 0.5) / size - 0.5) * _WIDTH / n_others
    axes.plot(latents["shared_with"] / n_others + shift, latents["score"], color=colour, zorder=2, **score_marks.DOT)


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    own = rows_where(table, source="trained", explained_by="own")
    latents, means = rows_where(own, row="latent"), rows_where(own, row="mean")
    threshold = table["threshold"].iloc[0]
    if latents.empty:
        return score_marks.nothing(threshold)
    values = [
        f"{row['shared_with']}: {score_marks.estimate(row['score'], row['low'], row['high'])}, standard deviation "
        f"{_deviation(row['spread'])}, n = {row['n']}"
        for _, row in means.iterrows()
    ]
    sentences = [
        f"Scores of the explanations of {phrases.count(len(latents), 'latent')} by how many of the other "
        f"{means['n_others'].max()} SAEs share the latent. Mean at each number: {'; '.join(values)} "
        "(intervals over the first SAE's latents, each drawn with its counterparts).",
        score_marks.origin_in_words(latents.iloc[0]),
        score_marks.chance_in_words(rows_where(table, row="chance").iloc[0]),
        phrases.definition(threshold),
    ]
    published = rows_where(table, source="published").set_index("shared_with")
    if len(published):
        sentences.append(
            f"Black squares: {PAPER}, Pythia-160M, another explainer and scorer, so only the shape compares: "
            f"{published['score'][0]:.2f} for latents of one SAE alone (standard deviation "
            f"{published['spread'][0]:.2f}, n "
            f"= {published['n'][0]:,}), {published['score'][8]:.2f} for those of all nine; there a latent "
            "counts as found by joint cosines."
        )
    return " ".join(sentences)


def _deviation(spread: float) -> str:
    return phrases.NOT_MEASURED if pd.isna(spread) else f"{spread:.2f}"
