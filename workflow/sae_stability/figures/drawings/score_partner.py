"""The figure `score-partner`: the score of a latent's explanation against that of its matched partner's."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import score_marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.selection import rows_where


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each pair, coloured by whether it is shared; dashed lines where chance scores end."""
    pairs = rows_where(table, row="pair")
    picture = styles.figure(style, 3.3)
    axes = picture.subplots()
    lowest = min(0.45, pairs[["score", "score_counterpart"]].min().min() - 0.03)
    axes.plot([lowest, 1.02], [lowest, 1.02], color=styles.NEUTRAL, linewidth=0.6, zorder=1)
    axes.axhline(table["chance"].iloc[0], zorder=1, **score_marks.BAR_LINE)
    axes.axvline(table["chance"].iloc[0], zorder=1, **score_marks.BAR_LINE)
    groups = {"not shared": pairs[~pairs["shared"]], "shared": pairs[pairs["shared"]]}
    handles = []
    for (label, rows), colour in zip(groups.items(), style["palette"], strict=False):
        axes.plot(rows["score"], rows["score_counterpart"], color=colour, zorder=3, **score_marks.DOT)
        handles.append(styles.mark(f"{label} (n = {len(rows)})", color=colour, **score_marks.DOT))
    axes.set(xlabel="score in the first SAE", ylabel="score of the counterpart", aspect="equal")
    axes.set(xlim=(lowest, 1.02), ylim=(lowest, 1.02))
    handles += [
        styles.mark("95% of chance scores lie below", **score_marks.BAR_LINE),
        styles.mark("equal scores", color=styles.NEUTRAL, linewidth=0.6),
    ]
    styles.key(picture, handles)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    threshold = table["threshold"].iloc[0]
    pairs = rows_where(table, row="pair")
    if pairs.empty:
        return score_marks.nothing(threshold)
    found = rows_where(table, row="correlation").set_index("pairing")
    said = {name: score_marks.estimate(*row[["correlation", "low", "high"]]) for name, row in found.iterrows()}
    apart = (pairs["score"] - pairs["score_counterpart"]).abs()
    return " ".join(
        [
            f"Scores of latents of seed {phrases.escape(pairs['a'].iloc[0])} and of their counterparts by the "
            "decoder: n = "
            f"{phrases.count(len(pairs), 'pair')} with {phrases.count(pairs['b'].nunique(), 'other SAE')}. "
            "Spearman's rank "
            f"correlation is {said['matched']}; with another latent's counterpart, as chance gives, it is "
            f"{said['shuffled']} (intervals over the first SAE's latents).",
            f"The two scores differ by {apart.mean():.2f} on average (standard deviation {apart.std():.2f}); of "
            f"{phrases.count(int(pairs['shared'].sum()), 'shared pair')} by {_apart(apart[pairs['shared']])}, "
            "of the others "
            f"by {_apart(apart[~pairs['shared']])}.",
            score_marks.origin_in_words(pairs.iloc[0]),
            "Both latents of a pair are scored on the same random texts where possible, which alone makes scores "
            "alike.",
            f"Of 100 chance scores, by another latent's explanation, 95 are at most {pairs['chance'].iloc[0]:.2f}.",
            phrases.definition(threshold),
        ]
    )


def _apart(values: pd.Series) -> str:
    return f"{values.mean():.2f}" if len(values) else phrases.NOT_MEASURED
