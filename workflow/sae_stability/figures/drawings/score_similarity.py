"""The figure `score-similarity`: the score of each latent's explanation against its mean matched cosine."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import score_marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where

_SHUFFLED = {"marker": "x", "markersize": 2.6, "markeredgewidth": 0.5, "linestyle": "none", "color": styles.FLOOR}


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each latent, in another colour where every other SAE shares it, and a cross for each chance score."""
    latents, chance = rows_where(table, row="latent"), rows_where(table, row="chance").iloc[0]
    own, shuffled = (rows_where(latents, explained_by=name) for name in ("own", "shuffled"))
    picture = styles.figure(style, 3.1)
    axes = picture.subplots()
    axes.plot(shuffled["mean_cosine"], shuffled["score"], zorder=2, alpha=0.7, **_SHUFFLED)
    handles = []
    for (label, rows), colour in zip(_groups(own), style["palette"], strict=False):
        axes.plot(rows["mean_cosine"], rows["score"], color=colour, zorder=3, **score_marks.DOT)
        handles.append(styles.mark(f"{label} (n = {len(rows)})", color=colour, **score_marks.DOT))
    handles.append(styles.mark("scored by another latent's explanation", **_SHUFFLED))
    handles += score_marks.draw_chance(axes, chance)
    axes.set(xlabel="mean matched cosine", ylabel=score_marks.LABEL, ylim=_limits(latents["score"]))
    styles.key(picture, handles)
    return picture


def _groups(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    none, every = rows["shared_with"] == 0, rows["shared_with"] == rows["n_others"]
    groups = (("shared with no other SAE", none), ("shared with some", ~none & ~every), ("shared with all", every))
    return [(label, rows[chosen]) for label, chosen in groups]


def _limits(scores: pd.Series) -> tuple[float, float]:
    """Room for every score, and at least the upper half of the scale."""
    return min(0.45, scores.min() - 0.03), 1.02


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    latents = rows_where(table, row="latent", explained_by="own")
    threshold = table["threshold"].iloc[0]
    if latents.empty:
        return score_marks.nothing(threshold)
    found = rows_where(table, row="correlation").set_index("explained_by")
    said = {by: score_marks.estimate(*row[["score", "low", "high"]]) for by, row in found.iterrows()}
    return " ".join(
        [
            "The score of a latent's explanation against its similarity across seeds, the mean over the other "
            "SAEs of the "
            f"matched decoder and encoder cosine: n = {phrases.count(len(latents), 'latent')} of "
            f"{phrases.count(latents['seed'].nunique(), 'SAE')}, those sampled from the first SAE and their "
            "counterparts.",
            f"Spearman's rank correlation is {said.get('own', phrases.NOT_MEASURED)}; for the same latents with other "
            f"latents' explanations it is {said.get('shuffled', phrases.NOT_MEASURED)}. Intervals are over the first "
            "SAE's latents, each drawn with its counterparts.",
            score_marks.origin_in_words(latents.iloc[0]),
            score_marks.chance_in_words(rows_where(table, row="chance").iloc[0]),
            phrases.definition(threshold),
        ]
    )
