"""Which latents of two SAEs have similar decoder rows: the highest cosine of each, and the connected components."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae_stability.compiled import cached_njit
from sae_stability.match.rows import cosine, prepare, rounding_margin

_TILE = 1024  # rows of each SAE compared at a time
_ROUNDING = 1e-12  # a row's cosine with a copy of itself may be less than 1 by so much


@dataclass(frozen=True)
class Components:
    """The graph of two SAEs: an edge joins a latent of each where the cosine is at least the threshold.

    Attributes:
        max_cosine: (n_large,) float64: highest cosine with a decoder row of the small SAE; the sign counts.
        nearest: (n_large,) int64: the latent of the small SAE that has it.
        of_large, of_small: (n_large,) and (n_small,) int64: the number of each latent's connected component. Components
            are numbered in the order of their first latent, those of the large SAE first.
        n_large_in, n_small_in: (components,) int64: latents of each SAE in each component.
    """

    max_cosine: np.ndarray
    nearest: np.ndarray
    of_large: np.ndarray
    of_small: np.ndarray
    n_large_in: np.ndarray
    n_small_in: np.ndarray

    @property
    def novel(self) -> np.ndarray:
        """(n_large,) bool: latents of the large SAE without an edge; the others are reconstruction latents."""
        return self.n_small_in[self.of_large] == 0

    def census(self) -> list[list[int]]:
        """How many components have so many latents: [of the small SAE, of the large SAE, components], sorted."""
        counts = Counter(zip(self.n_small_in.tolist(), self.n_large_in.tolist(), strict=True))
        return [[*sizes, count] for sizes, count in sorted(counts.items())]

    def table(self) -> pd.DataFrame:
        """A row for each latent of both SAEs: `component`, `side` (large or small), `latent`, by component."""
        sides = (("large", self.of_large), ("small", self.of_small))
        parts = [
            pd.DataFrame({"component": of, "side": side, "latent": np.arange(len(of), dtype=np.int32)})
            for side, of in sides
        ]
        return pd.concat(parts).sort_values(["component", "side", "latent"], ignore_index=True)


def components(small, large, threshold: float) -> Components:
    """Compare the decoder rows of two SAEs, `small` (n_small, d_model) and `large` (n_large, d_model).

    Cosines decide by their exact values, whatever the rounding of float32. Memory holds no matrix of all pairs.

    Raises:
        StudyError: rows that are no finite real numbers.
    """
    b, a = prepare(small, "the small SAE's decoder"), prepare(large, "the large SAE's decoder")
    n, margin = len(a.rows), rounding_margin(a.rows.shape[1])
    top = np.full(n, -np.inf, np.float32)
    value, nearest = np.full(n, -np.inf), np.full(n, -1)
    parent = np.arange(n + len(b.rows))
    limit = threshold - _ROUNDING if threshold == 1 else threshold
    for row in range(0, n, _TILE):
        for column in range(0, len(b.rows), _TILE):
            tile = a.unit[row : row + _TILE] @ b.unit[column : column + _TILE].T
            _scan(
                *(a.rows, b.rows, a.inverse_norm, b.inverse_norm),
                *(tile, row, column, limit, margin, top, value, nearest, parent),
            )
    roots = _roots(parent)
    _, number = np.unique(roots, return_inverse=True)
    of_large, of_small = number[:n], number[n:]
    count = int(number.max()) + 1
    sizes = (np.bincount(of, minlength=count) for of in (of_large, of_small))
    return Components(value, nearest, of_large, of_small, *sizes)


@cached_njit(nogil=True)
def _scan(a, b, inverse_a, inverse_b, tile, row, column, threshold, margin, top, value, nearest, parent):
    """Take a tile of float32 cosines into the highest cosine of each row, and into the components."""
    n = len(inverse_a)
    for r in range(tile.shape[0]):
        i = row + r
        for q in range(tile.shape[1]):
            top[i] = max(top[i], tile[r, q])
        for q in range(tile.shape[1]):
            j = column + q
            x = np.float64(tile[r, q])
            if x >= top[i] - 2 * margin or abs(x - threshold) <= margin:
                x = cosine(a, b, inverse_a, inverse_b, i, j)
                if x > value[i]:
                    value[i], nearest[i] = x, j
            if x >= threshold:
                _join(parent, i, n + j)


@cached_njit(nogil=True)
def _join(parent, i, j):
    """Make the two components one. The root of a component is its lowest member."""
    i, j = _root(parent, i), _root(parent, j)
    if i < j:
        parent[j] = i
    elif j < i:
        parent[i] = j


@cached_njit(nogil=True)
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@cached_njit(nogil=True)
def _roots(parent):
    roots = np.empty_like(parent)
    for i in range(len(parent)):
        roots[i] = _root(parent, i)
    return roots
