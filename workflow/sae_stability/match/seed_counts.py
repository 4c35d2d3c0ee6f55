"""What several SAEs share: only-in-base against their number, and in exactly m of n."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

LATENTS = ("all", "live")


def table(trained: list, floors: dict[str, list], seeds: list[int], threshold: float) -> pd.DataFrame:
    """Rows (source, latents, statistic, m, mean, std, n).

    `trained` is a list of `overlap_tables.Pair`, and `floors` has such a list for each of its sources.

    `only_in_base` at m: fraction of a base SAE's latents shared with none of m - 1 other seeds, over every base and
    every combination of others (paper, Fig. 2). `in_exactly` m: fraction of a base's latents found in exactly m of the
    n seeds, the base among them, over bases. `n` counts the values averaged; std is theirs (population).
    """
    rows = []
    for latents in LATENTS:
        masks, counted = _masks(trained, seeds, threshold, latents)
        rows += _rows("trained", latents, "only_in_base", only_in_base(masks, counted))
        rows += _rows("trained", latents, "in_exactly", in_exactly(masks, counted))
        for source, random in floors.items():
            rates = [pair.passes("shared", threshold, latents).mean() for pair in random]
            alone = {m: [(1 - p) ** (m - 1) for p in rates] for m in _sizes(seeds)}
            rows += _rows(source, latents, "only_in_base", alone)
            rows += _rows(source, latents, "in_exactly", _binomial(rates, len(seeds)))
    return pd.DataFrame(rows, columns=["source", "latents", "statistic", "m", "mean", "std", "n"])


def only_in_base(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, list[float]]:
    """For m = 2 ... n: the fraction of base latents in none of m - 1 others, one value a base and combination.

    Args:
        masks: for each base `(n_others, n_latents)` bool, shared with that other seed.
        counted: for each base `(n_latents,)` bool, the latents in the denominator.
    """
    values = {}
    for mask, base in zip(masks, counted, strict=True):
        # Latents with the same pattern of sharers are counted once: 2^8 patterns for nine seeds, not 131,072 rows.
        patterns, weights = np.unique(mask[:, base], axis=1, return_counts=True)
        for others in range(1, len(mask) + 1):
            for chosen in combinations(range(len(mask)), others):
                alone = weights[~patterns[list(chosen)].any(axis=0)].sum()
                values.setdefault(others + 1, []).append(alone / base.sum() if base.any() else np.nan)
    return values


def in_exactly(masks: list[np.ndarray], counted: list[np.ndarray]) -> dict[int, list[float]]:
    """For m = 1 ... n: the fraction of base latents found in exactly m seeds, one value a base."""
    values = {}
    for mask, base in zip(masks, counted, strict=True):
        found_in = 1 + mask[:, base].sum(axis=0)
        for m in range(1, len(mask) + 2):
            values.setdefault(m, []).append(float((found_in == m).mean()) if base.any() else np.nan)
    return values


def _masks(trained: list, seeds: list[int], threshold: float, latents: str):
    """For each seed as base: its shared masks with every other seed, and the latents that count."""
    masks, counted = [], []
    for seed in seeds:
        mine = [pair for pair in trained if seed in (pair.a, pair.b)]
        if mine:
            masks.append(np.array([pair.shared_of(seed, threshold, latents) for pair in mine]))
            alive = mine[0].columns["alive" if mine[0].a == seed else "alive_b"]
            counted.append(alive if latents == "live" else np.ones_like(alive))
    return masks, counted


def _sizes(seeds: list[int]) -> range:
    return range(2, len(seeds) + 1)


def _binomial(rates: list[float], n: int) -> dict[int, list[float]]:
    """In exactly m of n when sharing with each other seed is independent, as it is between random dictionaries."""
    return {m: [comb(n - 1, m - 1) * p ** (m - 1) * (1 - p) ** (n - m) for p in rates] for m in range(1, n + 1)}


def _rows(source: str, latents: str, statistic: str, values: dict[int, list[float]]) -> list[dict]:
    return [
        {
            "source": source,
            "latents": latents,
            "statistic": statistic,
            "m": m,
            "mean": float(np.mean(found)),
            "std": float(np.std(found)),
            "n": len(found),
        }
        for m, found in sorted(values.items())
        if found
    ]
