"""What several SAEs share: fractions of latents found only in the base SAE, and in exactly m of n seeds."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

LATENTS = ("all", "live")


def table(trained: list, floors: dict[str, list], seeds: list[int], threshold: float) -> pd.DataFrame:
    """Rows (source, latents, statistic, m, mean, std, n).

    `trained` is a list of `overlap_tables.Pair`, and `floors` has such a list for each of its sources.

    `only_in_base` at m: fraction of a base SAE's latents that are shared with none of m - 1 other seeds, for every base
    and every combination of other seeds (arXiv 2501.16615, Fig. 2). `in_exactly` at m: fraction of a base SAE's latents
    found in exactly m of the n seeds, the base included, for every base. `mean` and `std` (population) are over these
    values, and column `n` is their number.
    """
    rows = []
    for latents in LATENTS:
        masks, counted = _masks(trained, seeds, threshold, latents)
        rows += _rows("trained", latents, "only_in_base", only_in_base(masks, counted))
        rows += _rows("trained", latents, "in_exactly", in_exactly(masks, counted))
        for source, floor in floors.items():
            rates = [pair.passes("shared", threshold, latents).mean() for pair in floor]
            alone = {m: [(1 - p) ** (m - 1) for p in rates] for m in _sizes(seeds)}
            rows += _rows(source, latents, "only_in_base", alone)
            rows += _rows(source, latents, "in_exactly", _binomial(rates, len(seeds)))
    return pd.DataFrame(rows, columns=["source", "latents", "statistic", "m", "mean", "std", "n"])


def only_in_base(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, list[float]]:
    """For m = 2 ... n: the fraction of base latents in none of m - 1 other seeds, a value per base and combination.

    Args:
        masks: for each base `(n_others, n_latents)` bool, which latents are shared with each other seed.
        counted: for each base `(n_latents,)` bool, the latents in the denominator.
    """
    values = {}
    for mask, base in zip(masks, counted, strict=True):
        # Latents shared with the same seeds are grouped: at most 2^8 patterns for nine seeds, not 131,072 latents.
        patterns, weights = np.unique(mask[:, base], axis=1, return_counts=True)
        for others in range(1, len(mask) + 1):
            for chosen in combinations(range(len(mask)), others):
                alone = weights[~patterns[list(chosen)].any(axis=0)].sum()
                values.setdefault(others + 1, []).append(alone / base.sum() if base.any() else np.nan)
    return values


def in_exactly(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, list[float]]:
    """For m = 1 ... n: the fraction of base latents found in exactly m seeds, a value per base."""
    values = {}
    for mask, base in zip(masks, counted, strict=True):
        found_in = 1 + mask[:, base].sum(axis=0)
        for m in range(1, len(mask) + 2):
            values.setdefault(m, []).append(float((found_in == m).mean()) if base.any() else np.nan)
    return values


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


def _rows(source: str, latents: str, statistic: str, values: dict[int, list[float]]) -> list[dict]:
    return [
        {
            "source": source,
            "latents": latents,
            "statistic": statistic,
            "m": m,
            "mean": float(np.mean(sample)),
            "std": float(np.std(sample)),
            "n": len(sample),
        }
        for m, sample in sorted(values.items())
        if sample
    ]
