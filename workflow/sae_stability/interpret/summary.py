"""The verb `score-summary`: what the scores of a cohort come to, with intervals, spread and counts by status."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.files import read_table, write_table
from sae_stability.interpret.measures import NAMES
from sae_stability.interpret.outcomes import NO_EXPLANATION, OK, STATUSES, TOO_RARE
from sae_stability.interpret.tables import by_seed
from sae_stability.random_streams import stream

_RESAMPLES = 2000
_STATUSES = (OK, TOO_RARE, NO_EXPLANATION, *(status for status in dict.fromkeys(STATUSES.values()) if status != OK))


def summarise_scores(*, scores: Sequence[tuple[int, Path]], out: Path, config_hash: str = "") -> None:
    """Summarise the scores of a cohort: a row for each SAE, explanation and kind of negatives.

    Args:
        scores: SEED=FILE, table of scores of each SAE.
        out: table to write.
        config_hash: fingerprint of what the table is made from, recorded in it.

    Raises:
        StudyError: a table is missing.
    """
    rows = []
    for seed, path in by_seed("scores", scores).items():
        table, _ = read_table(path)
        for negatives, some in table.groupby("negatives", sort=True):
            chance = _per_latent(some[some["explained_by"] == "shuffled"])["balanced_accuracy"]
            for explained_by, group in some.groupby("explained_by", sort=True):
                key = {"seed": seed, "explained_by": explained_by, "negatives": negatives}
                rows.append(key | _summary(group, chance if explained_by == "own" else chance[:0]))
    write_table(out, pd.DataFrame(rows), {"config_hash": config_hash})


def _summary(group: pd.DataFrame, chance: pd.Series) -> dict:
    """Means over latents, with what surrounds them."""
    latents = _per_latent(group)
    found: dict = {"n_latents": group["latent"].nunique(), "n_scored": len(latents)}
    for name in NAMES:
        low, high = _interval(latents[name].to_numpy(), name)
        found |= {name: latents[name].mean(), f"{name}_low": low, f"{name}_high": high}
        found[f"{name}_draw_spread"] = _draw_spread(group, name)
    bar = np.quantile(chance, 0.95) if len(chance) else np.nan
    above = float((latents["balanced_accuracy"] > bar).mean()) if len(chance) and len(latents) else np.nan
    found |= {"chance_95": bar, "above_chance": above}
    return found | {f"n_{status}": int((group["status"] == status).sum()) for status in _STATUSES}


def _per_latent(group: pd.DataFrame) -> pd.DataFrame:
    """Mean of each measure over a latent's draws."""
    return group[group["status"] == OK].groupby("latent")[list(NAMES)].mean()


def _interval(values: np.ndarray, name: str) -> tuple[float, float]:
    """95 % interval of the mean over latents, by the percentile bootstrap; fewer than three give none."""
    if len(values) < 3:
        return np.nan, np.nan
    rng = np.random.default_rng(stream("bootstrap over latents", name, len(values)))
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _draw_spread(group: pd.DataFrame, name: str) -> float:
    """How far a latent's score moves from draw to draw: root mean square over latents of the standard deviation."""
    per_latent = group[group["status"] == OK].groupby("latent")[name].var(ddof=1).dropna()
    return float(np.sqrt(per_latent.mean())) if len(per_latent) else np.nan
