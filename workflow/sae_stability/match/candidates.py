"""The best partners of every row and every column, from tiles of products; the whole matrix is never in memory."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.match.blas_threads import workers

COLUMNS = 2048  # columns of a tile
STRIDE = 32  # entries compared together, in vector registers, so that a tile is scanned at memory speed


@dataclass(frozen=True)
class PartnerLists:
    """For each row of one dictionary, its best partners in the other: those with the largest products.

    Attributes:
        value: `(n, 2 * keep)` float32, products; the first `count` entries of a row are its largest, unsorted.
        partner: `(n, 2 * keep)` int32, the partner of each product.
        count: `(n,)` int32, at most `keep` after all tiles are scanned.
        bound: `(n,)` float32; every product of row i that is not listed is at most `bound[i]`.
        last: `(n,)` int32, partner of the entry at `bound`; breaks ties.
        error: largest possible difference between a product and the exact cosine.
    """

    value: np.ndarray
    partner: np.ndarray
    count: np.ndarray
    bound: np.ndarray
    last: np.ndarray
    error: float

    @classmethod
    def empty(cls, n: int, keep: int, error: float) -> "PartnerLists":
        """Lists before the first tile."""
        return cls(
            np.empty((n, 2 * keep), np.float32),
            np.empty((n, 2 * keep), np.int32),
            np.zeros(n, np.int32),
            np.full(n, -np.inf, np.float32),
            np.full(n, np.iinfo(np.int32).max, np.int32),
            error,
        )

    @classmethod
    def of_rows(cls, unit: np.ndarray, keep: int, error: float) -> "PartnerLists":
        """Lists before the first tile; but zero rows list the first `keep` partners at 0 and accept no n_partners.

        All products of a zero row are 0, so a scan would have to break a tie at every entry.
        """
        best = cls.empty(len(unit), keep, error)
        zero = ~unit.any(axis=1)
        best.value[zero, :keep], best.partner[zero, :keep] = 0, np.arange(keep)
        best.count[zero] = keep
        best.bound[zero] = np.inf
        return best

    @property
    def lists(self) -> tuple[np.ndarray, ...]:
        """The arrays that a scan updates."""
        return self.value, self.partner, self.count, self.bound, self.last


def sweep(
    best_a: PartnerLists,
    best_b: PartnerLists,
    height: int,
    multiply: Callable[[int, int, np.ndarray], None],
    threads: int,
    progress=None,
) -> None:
    """Scan every tile of products and fill the lists of both sides, which `PartnerLists.of_rows` has made.

    Args:
        best_a, best_b: lists of the rows and of the columns, updated in place.
        height: rows of a tile.
        multiply: function (row, column, tile) that writes the products of `height` rows from `row` on with COLUMNS
            columns from `column` on into `tile`, (height, COLUMNS) float32; entries beyond the last row or column are
            ignored.
        threads: CPU threads. Ties are broken by index, so the lists do not depend on it.
        progress: called with the fraction of the rows done, in [0, 1].
    """
    n, m = best_a.count.size, best_b.count.size
    columns, starts = range(0, m, COLUMNS), range(0, n, height)
    locks = [threading.Lock() for _ in columns]
    blocks_done = itertools.count(1)
    per_thread = threading.local()

    def block(row: int) -> None:
        if not hasattr(per_thread, "tile"):
            per_thread.tile = np.empty((height, COLUMNS), np.float32)
        # Threads start at different columns, so they rarely wait for the same lock.
        first = row // height * 7 % len(columns)
        for c in (*range(first, len(columns)), *range(first)):
            shape = min(height, n - row), min(COLUMNS, m - columns[c])
            multiply(row, columns[c], per_thread.tile)
            _scan_rows(per_thread.tile, *shape, row, columns[c], *best_a.lists)
            with locks[c]:
                _scan_columns(per_thread.tile, *shape, row, columns[c], *best_b.lists)
        if progress is not None:
            progress(next(blocks_done) / len(starts))

    with workers(threads) as pool:
        for _ in pool.map(block, starts):
            pass
    _finish(*best_a.lists, m)
    _finish(*best_b.lists, n)


@cached_njit(nogil=True, inline="always")
def _before(x, j, y, k):
    """Whether product x with partner j comes before y with k: larger first, then lower index."""
    return x > y or (x == y and j < k)


@cached_njit(nogil=True)
def _select(value, partner, count, keep):
    """Move the `keep` best of the first `count` entries to the front, the worst of them last (quickselect)."""
    low, high = 0, count - 1
    target = keep - 1
    while low < high:
        middle = (low + high) >> 1
        pivot, pivot_partner = value[middle], partner[middle]
        i, j = low, high
        while i <= j:
            while _before(value[i], partner[i], pivot, pivot_partner):
                i += 1
            while _before(pivot, pivot_partner, value[j], partner[j]):
                j -= 1
            if i <= j:
                value[i], value[j] = value[j], value[i]
                partner[i], partner[j] = partner[j], partner[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break


@cached_njit(nogil=True)
def _push(value, partner, count, bound, last, r, x, j):
    """Add product `x` with partner `j` to the list of row `r`, unless `keep` better ones are known."""
    if not _before(x, j, bound[r], last[r]):
        return
    n = count[r]
    value[r, n] = x
    partner[r, n] = j
    count[r] = n + 1
    if n + 1 == value.shape[1]:
        _shrink(value, partner, count, bound, last, r)


@cached_njit(nogil=True)
def _shrink(value, partner, count, bound, last, r):
    keep = value.shape[1] // 2
    _select(value[r], partner[r], count[r], keep)
    count[r] = keep
    bound[r] = value[r, keep - 1]
    last[r] = partner[r, keep - 1]


@cached_njit(nogil=True)
def _finish(value, partner, count, bound, last, n_partners):
    """Cut every list to its best `keep`, and set the bounds of zero rows and of lists that hold every partner."""
    keep = value.shape[1] // 2
    for r in range(count.size):
        if count[r] > keep:
            _shrink(value, partner, count, bound, last, r)
        if bound[r] == np.inf:
            bound[r] = 0  # a zero row: every product is 0
        if count[r] == n_partners:
            bound[r] = -np.inf  # no product is left out


@cached_njit(nogil=True)
def _scan_rows(tile, height, width, row0, column0, value, partner, count, bound, last):
    whole = width - width % STRIDE
    for i in range(height):
        r = row0 + i
        line = tile[i]
        for s in range(0, whole, STRIDE):
            limit = bound[r]
            hits = 0
            for q in range(STRIDE):
                hits += line[s + q] >= limit
            if hits:
                for q in range(STRIDE):
                    if line[s + q] >= bound[r]:
                        _push(value, partner, count, bound, last, r, line[s + q], column0 + s + q)
        for s in range(whole, width):
            if line[s] >= bound[r]:
                _push(value, partner, count, bound, last, r, line[s], column0 + s)


@cached_njit(nogil=True)
def _scan_columns(tile, height, width, row0, column0, value, partner, count, bound, last):
    whole = width - width % STRIDE
    limits = bound[column0 : column0 + width]
    for i in range(height):
        line = tile[i]
        for s in range(0, whole, STRIDE):
            hits = 0
            for q in range(STRIDE):
                hits += line[s + q] >= limits[s + q]
            if hits:
                for q in range(s, s + STRIDE):
                    if line[q] >= limits[q]:
                        _push(value, partner, count, bound, last, column0 + q, line[q], row0 + i)
        for q in range(whole, width):
            if line[q] >= limits[q]:
                _push(value, partner, count, bound, last, column0 + q, line[q], row0 + i)
