"""Table of the figure `score-similarity`: each latent's score beside its mean matched cosine."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.tables import scored


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`scored.latents`, what chance gives, and the rank correlation of score and similarity.

    Args:
        inputs: those of `scored.latents`.

    Returns:
        Columns `scored.COLUMNS`. In the row "correlation", `score` is Spearman's rank correlation over `n` latents,
        with its interval over the first SAE's latents; for `explained_by` "shuffled" it is what chance gives.
    """
    rows = scored.latents(inputs)
    found = [scored.chance_row(rows)]
    for explained_by, some in rows.dropna(subset=["mean_cosine", "score"]).groupby("explained_by"):
        pairs, groups = some[["mean_cosine", "score"]].to_numpy(), some["first_latent"].to_numpy()
        low, high = scored.interval(pairs, groups, scored.correlation, f"score-similarity {explained_by}")
        value = {"score": scored.correlation(pairs), "low": low, "high": high, "n": len(pairs)}
        found.append(scored.one_row(rows, row="correlation", explained_by=explained_by, **value))
    return scored.with_rows(rows, inputs, found)
