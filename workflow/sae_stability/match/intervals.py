"""Confidence intervals for means over seed pairs, which share seeds and so are not independent."""

from itertools import combinations_with_replacement
from math import factorial

import numpy as np
import pandas as pd

from sae_stability.random_streams import stream

LEVEL = 0.95
ENUMERATED = 9  # up to so many seeds every resample is listed (24,310 at nine); beyond, 20,000 are drawn
DRAWS = 20_000
NOT_MEANS = (
    *("cohort", "a", "b", "source", "latents", "n", "gap_encoder", "gap_decoder"),
    *("subspace_rank", "subspace_random_std"),
)


def table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Rows (source, latents, statistic, mean, low, high, n_pairs, n_units, method) for each column of `pairs`.

    `low` and `high` bound the mean over pairs with 95 % confidence: the percentile bootstrap (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, section 13.3) over seeds, not over pairs: n seeds are drawn with
    replacement, a pair weighs the product of its seeds' counts, draws that leave no pair are dropped. Up to nine seeds
    the bootstrap distribution is exact. Fewer than three seeds give no interval (NaN). Floors are independent
    repetitions, resampled as such.
    """
    statistics = [name for name in pairs if name not in NOT_MEANS]
    rows = []
    for (source, latents), group in pairs.groupby(["source", "latents"], sort=True):
        weights, chance, units = _weights(source, group)
        for statistic in statistics:
            values = group[statistic].to_numpy(float)
            low, high = interval(values, weights, chance)
            rows.append(
                (source, latents, statistic, values.mean(), low, high, len(values), units, "bootstrap over seeds")
            )
    columns = ["source", "latents", "statistic", "mean", "low", "high", "n_pairs", "n_units", "method"]
    return pd.DataFrame(rows, columns=columns)


def interval(values: np.ndarray, weights: np.ndarray, chance: np.ndarray) -> tuple[float, float]:
    """Percentiles of the weighted mean of `values` `(p,)` over resamples `weights` `(r, p)` of probability `chance`."""
    if not len(weights) or np.isnan(values).any():
        return np.nan, np.nan
    means = weights @ values / weights.sum(axis=1)
    order = np.argsort(means)
    cumulative = np.cumsum(chance[order]) / chance.sum()
    # The sum of many probabilities may end at 1 - 1e-16; the last resample must still be found.
    places = np.minimum(np.searchsorted(cumulative, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]), len(means) - 1)
    low, high = means[order[places]]
    return float(low), float(high)


def _weights(source: str, group: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """Weight of each pair in each resample, the resamples' probabilities, and the number of units resampled."""
    if source != "trained":
        counts, chance = resamples(len(group))
        return counts if len(group) > 2 else counts[:0], chance, len(group)
    seeds = np.unique(group[["a", "b"]])
    counts, chance = resamples(len(seeds))
    weights = counts[:, np.searchsorted(seeds, group["a"])] * counts[:, np.searchsorted(seeds, group["b"])]
    kept = weights.any(axis=1) if len(seeds) > 2 else np.zeros(len(weights), bool)
    return weights[kept], chance[kept], len(seeds)


def resamples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of n units is drawn in n draws with replacement: `(r, n)` counts and their probabilities."""
    if n > ENUMERATED:
        drawn = np.random.default_rng(stream("bootstrap", n)).multinomial(n, np.full(n, 1 / n), size=DRAWS)
        return drawn, np.full(DRAWS, 1 / DRAWS)
    counts = np.array([np.bincount(c, minlength=n) for c in combinations_with_replacement(range(n), n)])
    ways = np.array([factorial(n) / np.prod([factorial(k) for k in row]) for row in counts])
    return counts, ways / n**n
