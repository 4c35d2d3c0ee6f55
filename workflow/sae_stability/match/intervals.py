"""Confidence intervals for means over seed pairs, which share seeds and so are not independent."""

from itertools import combinations_with_replacement
from math import factorial

import numpy as np
import pandas as pd

from sae_stability.random_streams import stream

LEVEL = 0.95
ENUMERATED = 9  # with at most this many seeds every resample is listed (24,310 for nine); with more, DRAWS are drawn
DRAWS = 20_000
# Columns of `pairs` that are not averaged.
NOT_MEANS = (
    *("cohort", "a", "b", "source", "latents", "n", "gap_encoder", "gap_decoder"),
    *("subspace_rank", "subspace_random_std"),
)


def table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Rows (source, latents, statistic, mean, low, high, n_pairs, n_units, method) for each column of `pairs`.

    `low` and `high` are the 95 % confidence interval of the mean over pairs, by the percentile bootstrap (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). Seeds are resampled, not pairs: n seeds are drawn
    with replacement, a pair weighs the product of its two seeds' counts, and draws without a pair are dropped. Up to
    nine seeds the bootstrap distribution is exact. Fewer than three seeds give no interval (NaN). The repeats of a
    floor are independent, so they are resampled themselves. `n_units` is the number of seeds or repeats.
    """
    statistics = [name for name in pairs if name not in NOT_MEANS]
    rows = []
    for (source, latents), group in pairs.groupby(["source", "latents"], sort=True):
        weights, probability, units = _weights(source, group)
        for statistic in statistics:
            values = group[statistic].to_numpy(float)
            low, high = interval(values, weights, probability)
            rows.append(
                (source, latents, statistic, values.mean(), low, high, len(values), units, "bootstrap over seeds")
            )
    columns = ["source", "latents", "statistic", "mean", "low", "high", "n_pairs", "n_units", "method"]
    return pd.DataFrame(rows, columns=columns)


def interval(values: np.ndarray, weights: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Percentiles of the weighted mean of `values` `(p,)` over resamples: `weights` `(r, p)`, `probability` `(r,)`."""
    if not len(weights) or np.isnan(values).any():
        return np.nan, np.nan
    means = weights @ values / weights.sum(axis=1)
    order = np.argsort(means)
    cumulative = np.cumsum(probability[order]) / probability.sum()
    # Rounding may leave the last cumulative probability below (1 + LEVEL) / 2, so stay within the array.
    places = np.minimum(np.searchsorted(cumulative, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]), len(means) - 1)
    low, high = means[order[places]]
    return float(low), float(high)


def _weights(source: str, group: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """Weight of each pair in each resample, the resamples' probabilities, and the number of units resampled."""
    if source != "trained":
        counts, probability = resamples(len(group))
        return counts if len(group) > 2 else counts[:0], probability, len(group)
    seeds = np.unique(group[["a", "b"]])
    counts, probability = resamples(len(seeds))
    weights = counts[:, np.searchsorted(seeds, group["a"])] * counts[:, np.searchsorted(seeds, group["b"])]
    kept = weights.any(axis=1) if len(seeds) > 2 else np.zeros(len(weights), bool)
    return weights[kept], probability[kept], len(seeds)


def resamples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of n units is drawn in n draws with replacement: `(r, n)` counts and their probabilities."""
    if n > ENUMERATED:
        drawn = np.random.default_rng(stream("bootstrap", n)).multinomial(n, np.full(n, 1 / n), size=DRAWS)
        return drawn, np.full(DRAWS, 1 / DRAWS)
    counts = np.array([np.bincount(c, minlength=n) for c in combinations_with_replacement(range(n), n)])
    ways = np.array([factorial(n) / np.prod([factorial(k) for k in row]) for row in counts])
    return counts, ways / n**n
