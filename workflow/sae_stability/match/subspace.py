"""Do the unshared latents of two seeds, none of which has a counterpart, still span the same subspace?"""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.match.pairs import dictionaries
from sae_stability.random_streams import stream

ENERGY = 0.5  # of the squared length is kept; with much more, any two subspaces of so small a space overlap
DRAWS = 20


def table(trained: list, saes: dict[int, Path], threshold: float) -> pd.DataFrame:
    """Columns `subspace_rank`, `subspace_overlap`, `subspace_random`, `subspace_random_std` for each pair.

    Each subspace is spanned by the r leading principal directions of the unit decoder rows of the unshared latents
    (live: of those that fired); r is the smallest number that holds half of the squared length on both sides.
    `subspace_overlap` is the mean squared cosine of the principal angles between the subspaces of A and of B,
    |V_a V_b^T|_F^2 / r, in [0, 1] (Björck and Golub 1973; after Gerasimov et al., arXiv 2606.12138).
    `subspace_random` and `subspace_random_std` are mean and standard deviation over 20 random draws of equally many
    latents of A and of B, from all that count, at the same r.
    """
    unit_rows = {seed: _unit(dictionaries(path)["decoder"]) for seed, path in sorted(saes.items())}
    rows = []
    for pair in trained:
        for latents in ("all", "live"):
            sides = []
            for seed, alive in ((pair.a, "alive"), (pair.b, "alive_b")):
                base = pair.columns[alive] if latents == "live" else np.ones_like(pair.columns[alive])
                unshared = base & ~pair.shared_of(seed, threshold, latents)
                sides.append((unit_rows[seed], np.flatnonzero(base), np.flatnonzero(unshared)))
            generator = np.random.default_rng(stream("subspace", pair.a, pair.b, latents))
            rows.append((pair.a, pair.b, pair.source, latents, *compare(*sides, generator)))
    columns = ["a", "b", "source", "latents"]
    names = ["subspace_rank", "subspace_overlap", "subspace_random", "subspace_random_std"]
    return pd.DataFrame(rows, columns=columns + names)


def compare(a: tuple, b: tuple, generator: np.random.Generator) -> tuple[float, float, float, float]:
    """(rank, overlap, random mean, random std) of two sides; NaN if a side has no unshared latents.

    Each side is (unit rows `(n, d)`, indices of the latents that count, indices of the unshared ones).
    """
    if not a[2].size or not b[2].size:
        return (np.nan,) * 4
    (values_a, vectors_a), (values_b, vectors_b) = (directions(rows[unshared]) for rows, _, unshared in (a, b))
    rank = max(_rank(values_a), _rank(values_b))
    chance = []
    for _ in range(DRAWS):
        drawn = [rows[generator.choice(base, unshared.size, replace=False)] for rows, base, unshared in (a, b)]
        chance.append(overlap(*(directions(rows)[1] for rows in drawn), rank))
    return rank, overlap(vectors_a, vectors_b, rank), float(np.mean(chance)), float(np.std(chance))


def directions(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared length along each principal direction (falling), and the directions `(d, d)` as columns."""
    rows = rows.astype(np.float64)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def overlap(a: np.ndarray, b: np.ndarray, rank: int) -> float:
    """Mean squared cosine of the principal angles between the spans of the first `rank` columns of each."""
    return float(((a[:, :rank].T @ b[:, :rank]) ** 2).sum() / rank)


def _rank(values: np.ndarray) -> int:
    """How many leading directions hold ENERGY of the squared length."""
    return int(np.searchsorted(np.cumsum(values) / values.sum(), ENERGY) + 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
