"""Table of the figure `score-sharers`: scores by the number of other SAEs that share a latent."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import scored


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`scored.latents`, the means by number of sharers, what chance gives, and the paper's means.

    Args:
        inputs: those of `scored.latents`.

    Returns:
        Columns `scored.COLUMNS`. In rows "mean", `score` is the mean over `n` latents, `spread` their standard
        deviation, `low` and `high` its 95 % interval; `shared_with` of `n_others` SAEs share them.
    """
    rows = scored.latents(inputs)
    found = [scored.chance_row(rows)]
    for (explained_by, sharers), some in rows.groupby(["explained_by", "shared_with"]):
        scores, groups = some["score"].to_numpy(), some["first_latent"].to_numpy()
        low, high = scored.interval(scores, groups, np.mean, f"score-sharers {explained_by} {sharers}")
        value = {"score": scores.mean(), "spread": some["score"].std(), "low": low, "high": high, "n": len(some)}
        place = {"shared_with": sharers, "n_others": some["n_others"].iloc[0]}
        found.append(scored.one_row(rows, row="mean", explained_by=explained_by, **place, **value))
    for m, mean in published.SCORE_BY_SHARERS.items():
        blank = dict.fromkeys(("cohort", "explainer", "scorer", "negatives"), "")
        place = {"shared_with": m - 1, "n_others": published.SEEDS - 1}
        spread, number = published.SCORE_SPREAD.get(m, (np.nan, 0))
        value = {"score": mean, "spread": spread, "n": number, "series": published.MODEL, "source": "published"}
        found.append(scored.one_row(rows, row="mean", **blank, **place, **value))
    return scored.with_rows(rows, inputs, found)
