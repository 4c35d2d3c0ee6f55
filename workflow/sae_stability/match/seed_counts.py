"""What several SAEs share: fractions of latents found only in the base SAE, and in exactly m of n seeds."""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd

LATENTS = ("all", "live")

# Up to so many seeds, every combination is counted one by one; their number doubles with each seed.
_LISTED = 10
_BLOCK = 2_000_000  # pairs of latents compared at a time


class Spread(NamedTuple):
    """Mean, population standard deviation and number of several values."""

    mean: float
    std: float
    n: int


def table(trained: list, floors: dict[str, list], seeds: list[int], threshold: float) -> pd.DataFrame:
    """Rows (source, latents, statistic, m, mean, std, n).

    `trained` is a list of `overlap_tables.Pair`, and `floors` has such a list for each of its sources.

    `only_in_base` at m: fraction of a base SAE's latents that are shared with none of m - 1 other seeds, for every base
    and every combination of other seeds (arXiv 2501.16615, Fig. 2). `in_exactly` at m: fraction of a base SAE's latents
    found in exactly m of the n seeds, the base included, for every base. `mean` and `std` (population) are over these
    values, and column `n` is their number, as float64 where it exceeds an int64 (more than 60 seeds).
    """
    rows = []
    for latents in LATENTS:
        masks, counted = _masks(trained, seeds, threshold, latents)
        rows += _rows("trained", latents, "only_in_base", only_in_base(masks, counted))
        rows += _rows("trained", latents, "in_exactly", _spreads(in_exactly(masks, counted)))
        for source, floor in floors.items():
            rates = [pair.passes("shared", threshold, latents).mean() for pair in floor]
            alone = {m: [(1 - p) ** (m - 1) for p in rates] for m in _sizes(seeds)}
            rows += _rows(source, latents, "only_in_base", _spreads(alone))
            rows += _rows(source, latents, "in_exactly", _spreads(_binomial(rates, len(seeds))))
    found = pd.DataFrame(rows, columns=["source", "latents", "statistic", "m", "mean", "std", "n"])
    too_large = any(row["n"] > np.iinfo(np.int64).max for row in rows)
    return found.astype({"n": float}) if too_large else found


def only_in_base(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, Spread]:
    """For m = 2 ... n: the fraction of base latents in none of m - 1 other seeds, over all bases and combinations.

    Args:
        masks: for each base `(n_others, n_latents)` bool, which latents are shared with each other seed.
        counted: for each base `(n_latents,)` bool, the latents in the denominator.
    """
    listed = len(masks) <= _LISTED
    return _spreads(listed_combinations(masks, counted)) if listed else all_combinations(masks, counted)


def listed_combinations(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, list[float]]:
    """The values of `only_in_base`, one for each base and combination. There are n 2^(n - 1), so n must be small."""
    values = {}
    for mask, base in zip(masks, counted, strict=True):
        patterns, weights = _patterns(mask[:, base])
        for others in range(1, len(mask) + 1):
            for chosen in combinations(range(len(mask)), others):
                alone = weights[~patterns[list(chosen)].any(axis=0)].sum()
                values.setdefault(others + 1, []).append(alone / base.sum() if base.any() else np.nan)
    return values


def all_combinations(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, Spread]:
    """What `only_in_base` says, exactly and without a list of the combinations.

    Of all choices of s among N other seeds, a fraction C(N - c, s) / C(N, s) avoids c given seeds. So the mean fraction
    of latents that are alone follows from the number of seeds that each latent is shared with. The mean of its square
    follows from the number of seeds that either latent of each *pair* is shared with.
    """
    n_others = len(masks[0])
    avoided = _avoided(n_others)
    means, squares = [], []
    for mask, base in zip(masks, counted, strict=True):
        patterns, weights = _patterns(mask[:, base])
        n = base.sum() if base.any() else np.nan
        means.append(avoided @ np.bincount(patterns.sum(axis=0), weights, n_others + 1) / n)
        squares.append(avoided @ _unions(patterns, weights) / n**2)
    mean = np.mean(means, axis=0)
    variance = np.mean(squares, axis=0) - mean**2
    # The two terms are fractions, known to about 1e-16: a smaller difference is none.
    std = np.sqrt(np.where(variance < 1e-14, 0.0 * variance, variance))
    return {
        s + 1: Spread(float(mean[s - 1]), float(std[s - 1]), len(masks) * comb(n_others, s))
        for s in range(1, n_others + 1)
    }


def in_exactly(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, list[float]]:
    """For m = 1 ... n: the fraction of base latents found in exactly m seeds, a value per base."""
    values = {}
    for mask, base in zip(masks, counted, strict=True):
        found_in = 1 + mask[:, base].sum(axis=0)
        for m in range(1, len(mask) + 2):
            values.setdefault(m, []).append(float((found_in == m).mean()) if base.any() else np.nan)
    return values


def _patterns(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different columns of a mask, and how many latents have each: few seeds, few columns."""
    return np.unique(mask, axis=1, return_counts=True)


def _avoided(n_others: int) -> np.ndarray:
    """`(n_others, n_others + 1)`, in row s - 1 and column c: the fraction of choices of s seeds without any of c."""
    s = np.arange(1, n_others + 1)
    columns = [np.ones(n_others)]
    for c in range(n_others):
        columns.append(columns[-1] * np.maximum(n_others - c - s, 0) / (n_others - c))
    return np.stack(columns, axis=1)


def _unions(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(n_others + 1,)`: how many ordered pairs of latents are shared, by either of the two, with so many seeds."""
    n_others, n = patterns.shape
    as_numbers = patterns.astype(np.float32)
    sizes = as_numbers.sum(axis=0)
    found = np.zeros(n_others + 1)
    step = max(_BLOCK // max(n, 1), 1)
    for first in range(0, n, step):
        block = slice(first, first + step)
        both = as_numbers[:, block].T @ as_numbers
        union = (sizes[block, None] + sizes - both).astype(np.int64)
        found += np.bincount(union.ravel(), np.outer(weights[block], weights).ravel(), n_others + 1)
    return found


def _masks(trained: list, seeds: list[int], threshold: float, latents: str):
    """For each seed as base: which latents are shared with each other seed, and which latents count."""
    masks, counted = [], []
    for seed in seeds:
        own_pairs = [pair for pair in trained if seed in (pair.a, pair.b)]
        if own_pairs:
            masks.append(np.array([pair.shared_of(seed, threshold, latents) for pair in own_pairs]))
            alive = own_pairs[0].columns["alive" if own_pairs[0].a == seed else "alive_b"]
            counted.append(alive if latents == "live" else np.ones_like(alive))
    return masks, counted


def _sizes(seeds: list[int]) -> range:
    return range(2, len(seeds) + 1)


def _binomial(rates: list[float], n: int) -> dict[int, list[float]]:
    """Chance of being in exactly m of n seeds if seeds share independently, as random dictionaries do."""
    return {m: [comb(n - 1, m - 1) * p ** (m - 1) * (1 - p) ** (n - m) for p in rates] for m in range(1, n + 1)}


def _spreads(values: dict[int, list[float]]) -> dict[int, Spread]:
    return {
        m: Spread(float(np.mean(sample)), float(np.std(sample)), len(sample)) for m, sample in values.items() if sample
    }


def _rows(source: str, latents: str, statistic: str, spreads: dict[int, Spread]) -> list[dict]:
    where = {"source": source, "latents": latents, "statistic": statistic}
    return [{**where, "m": m, **spread._asdict()} for m, spread in sorted(spreads.items())]
