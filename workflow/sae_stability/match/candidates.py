"""Similarity in tiles: the best partners of every row and every column, without holding the matrix."""

import itertools
import threading
from dataclasses import dataclass

import numpy as np
from numba import njit

from sae_stability.match.threads import workers

TILE = 2048
STRIDE = 32  # entries tested together; one register comparison each, so a tile is read at memory speed


@dataclass(frozen=True)
class Best:
    """The `keep` largest products of each row of one side.

    Attributes:
        value: `(n, capacity)` float32 and `partner`: `(n, capacity)` int32; the first `keep` entries of a row are its
            best, in no order.
        bound: `(n,)` float32; every product of row i that is not listed is at most `bound[i]`.
    """

    value: np.ndarray
    partner: np.ndarray
    count: np.ndarray
    bound: np.ndarray
    last: np.ndarray
    keep: int

    @classmethod
    def empty(cls, n: int, keep: int) -> "Best":
        """Nothing seen yet."""
        return cls(
            np.empty((n, 2 * keep), np.float32),
            np.empty((n, 2 * keep), np.int32),
            np.zeros(n, np.int32),
            np.full(n, -np.inf, np.float32),
            np.full(n, np.iinfo(np.int32).max, np.int32),
            keep,
        )


class Numpy:
    """Products by numpy's BLAS on the CPU."""

    device = "cpu"

    @staticmethod
    def best_partners(a, b, keep_a: int, keep_b: int, *, threads: int, progress=None) -> tuple[Best, Best]:
        """See `best_partners`."""
        return best_partners(a, b, keep_a, keep_b, threads=threads, progress=progress)


def best_partners(a, b, keep_a: int, keep_b: int, *, threads: int, progress=None) -> tuple[Best, Best]:
    """The `keep_a` best partners in `b` of each row of `a`, and the `keep_b` best in `a` of each row of `b`.

    `a` `(n, d)` and `b` `(m, d)` are unit float32 rows. Equal products are ordered by index, so the result does not
    depend on the number of threads. Memory beside the result: one tile of TILE x TILE float32 a thread.
    """
    best_a, best_b = Best.empty(len(a), keep_a), Best.empty(len(b), keep_b)
    columns = [slice(start, min(start + TILE, len(b))) for start in range(0, len(b), TILE)]
    locks = [threading.Lock() for _ in columns]
    starts = range(0, len(a), TILE)
    rows_done = itertools.count(1)
    local = threading.local()

    def block(start: int) -> None:
        rows = a[start : start + TILE]
        if not hasattr(local, "tile"):
            local.tile = np.empty(TILE * TILE, np.float32)
        # Threads start at different columns, so they rarely wait for the same lock.
        first = start // TILE * 7 % len(columns)
        for c in (*range(first, len(columns)), *range(first)):
            span = columns[c]
            width = span.stop - span.start
            tile = local.tile[: len(rows) * width].reshape(len(rows), width)
            np.matmul(rows, b[span].T, out=tile)
            _scan_rows(tile, start, span.start, best_a.value, best_a.partner, best_a.count, best_a.bound, best_a.last)
            with locks[c]:
                _scan_columns(
                    tile, start, span.start, best_b.value, best_b.partner, best_b.count, best_b.bound, best_b.last
                )
        if progress is not None:
            progress(next(rows_done) / len(starts))

    with workers(threads) as pool:
        for _ in pool.map(block, starts):
            pass
    for best, others in ((best_a, len(b)), (best_b, len(a))):
        _finish(best.value, best.partner, best.count, best.bound, best.last, others)
    return best_a, best_b


@njit(nogil=True, cache=True, inline="always")
def _before(x, j, y, k):
    """Whether product x with partner j comes before y with k: larger first, then lower index."""
    return x > y or (x == y and j < k)


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def _push(value, partner, count, bound, last, r, x, j):
    if not _before(x, j, bound[r], last[r]):
        return
    n = count[r]
    value[r, n] = x
    partner[r, n] = j
    count[r] = n + 1
    if n + 1 == value.shape[1]:
        _shrink(value, partner, count, bound, last, r)


@njit(nogil=True, cache=True)
def _shrink(value, partner, count, bound, last, r):
    keep = value.shape[1] // 2
    _select(value[r], partner[r], count[r], keep)
    count[r] = keep
    bound[r] = value[r, keep - 1]
    last[r] = partner[r, keep - 1]


@njit(nogil=True, cache=True)
def _finish(value, partner, count, bound, last, others):
    """Cut every list to its best `keep`; a list that holds every partner has nothing outside it."""
    keep = value.shape[1] // 2
    for r in range(count.size):
        if count[r] > keep:
            _shrink(value, partner, count, bound, last, r)
        if count[r] == others:
            bound[r] = -np.inf


@njit(nogil=True, cache=True)
def _scan_rows(tile, row0, column0, value, partner, count, bound, last):
    height, width = tile.shape
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


@njit(nogil=True, cache=True)
def _scan_columns(tile, row0, column0, value, partner, count, bound, last):
    height, width = tile.shape
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
