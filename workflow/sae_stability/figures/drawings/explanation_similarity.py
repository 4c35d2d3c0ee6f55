"""The figure `explanation-similarity`: how alike explanations of matched latents are, beside other pairs."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures import phrases
from sae_stability.figures.drawings import marks, score_marks
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.published import PAPER, THRESHOLD
from sae_stability.figures.selection import rows_where

_PLACES = {"unmatched": "another\nlatent", "matched": "matched", "best": "best\npossible"}
_SIDES = (("no", -0.2), ("yes", 0.2))
# Width over which the dots of one group are spread.
_WIDTH = 0.3


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """A dot for each pair and its mean with an interval: below the threshold of the cosine, and above it."""
    threshold = _threshold(table)
    pairs, means = rows_where(table, row="pair"), rows_where(table, row="mean", series="this run")
    picture = styles.figure(style, 3.0)
    axes = picture.subplots()
    handles = []
    for (above, side), colour in zip(_SIDES, style["palette"], strict=False):
        for number, pairing in enumerate(_PLACES):
            rows = rows_where(pairs, pairing=pairing, above=above).reset_index(drop=True)
            spread = ((rows.index + 0.5) / max(len(rows), 1) - 0.5) * _WIDTH
            axes.plot(number + side + spread, rows["similarity"], color=colour, **{**score_marks.DOT, "alpha": 0.3})
            for _, mean in rows_where(means, pairing=pairing, above=above).iterrows():
                ends = [[mean["similarity"] - mean["low"]], [mean["high"] - mean["similarity"]]]
                look = {"color": "#000000", "markerfacecolor": colour, "marker": "D", "markersize": 5, "capsize": 2.5}
                axes.errorbar(number + side, mean["similarity"], yerr=ends, zorder=5, **look)
        label = f"decoder cosine {'at least' if above == 'yes' else 'below'} {threshold:g}"
        handles.append(styles.mark(label, color=colour, **score_marks.DOT))
    handles.append(styles.mark("mean, 95% interval", color="#000000", marker="D", markersize=5, linestyle="none"))
    published = rows_where(table, source="published")
    if len(published):
        look = {"color": styles.PUBLISHED, "linestyle": "none", **marks.PUBLISHED_DOT}
        places = [list(_PLACES).index(pairing) for pairing in published["pairing"]]
        axes.plot(places, published["similarity"], zorder=6, **look)
        handles.append(styles.mark(f"{PAPER}, mean", **look))
    axes.set_xticks(range(len(_PLACES)), list(_PLACES.values()))
    axes.set(ylabel="cosine of explanations", xlim=(-0.5, len(_PLACES) - 0.5))
    axes.set_ylim(top=1.03)
    styles.key(picture, handles)
    return picture


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    means = rows_where(table, row="mean", series="this run")
    every = rows_where(means, above="all").set_index("pairing")
    said = {
        name: f"{score_marks.estimate(row['similarity'], row['low'], row['high'])}, standard deviation "
        + (phrases.NOT_MEASURED if pd.isna(row["spread"]) else f"{row['spread']:.2f}")
        for name, row in every.iterrows()
    }
    if every.empty:
        return score_marks.nothing(_threshold(table))
    halves = [
        f"{'at least' if above == 'yes' else 'below'} {table['threshold'].iloc[0]:g}: "
        f"{_mean(means, 'matched', above)} against {_mean(means, 'unmatched', above)}"
        for above in ("yes", "no")
    ]
    first = rows_where(table, row="pair").iloc[0]
    sentences = [
        f"How alike explanations are (by {phrases.escape(first['explainer'])}), as the cosine of their "
        "embeddings: matched "
        f"latents {said['matched']}; with the explanation of another latent of the same SAE, which is what "
        "chance gives, "
        f"{said.get('unmatched', phrases.NOT_MEASURED)}; with the most similar explanation of the other SAE "
        f"{said['best']} "
        f"(n = {phrases.count(int(every['n']['matched']), 'pair')} with the first SAE). Intervals are over its "
        "latents.",
        f"By decoder cosine, matched against another latent: {'; '.join(halves)}.",
        "The best is over the live latents that were explained, so it grows with their number; the other "
        "latent is drawn at "
        f"random. {phrases.definition(table['threshold'].iloc[0])}",
    ]
    if len(published := rows_where(table, source="published").set_index("pairing")):
        sentences.append(
            f"Black squares: {PAPER}, Pythia-160M, another explainer and sentence encoder, so only the order "
            "and the gaps "
            f"compare: {published['similarity']['matched']:.2f} matched, {published['similarity']['unmatched']:.2f} "
            f"unmatched, {published['similarity']['best']:.2f} best."
        )
    return " ".join(sentences)


def _threshold(table: pd.DataFrame) -> float:
    """The study's threshold; that of the paper if no latent is explained."""
    return table["threshold"].iloc[0] if len(table) else THRESHOLD


def _mean(means: pd.DataFrame, pairing: str, above: str) -> str:
    rows = rows_where(means, pairing=pairing, above=above)
    return f"{rows['similarity'].iloc[0]:.2f} (n = {rows['n'].iloc[0]})" if len(rows) else phrases.NOT_MEASURED
