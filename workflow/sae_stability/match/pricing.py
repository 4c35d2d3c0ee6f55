"""The proof: every pair of the two dictionaries is held against the duals, and those that break them are named.

A pair outside the candidate lists is at most as similar as the last entry of its row's list and of its column's list.
So only pairs with u_i + v_j below both need a look: with rows sorted by how far they reach and columns by their price,
they form a staircase that is a small part of the matrix, and only that part is multiplied again.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from sae_stability.errors import StudyError
from sae_stability.match.blas_threads import workers
from sae_stability.match.rows import Dictionary, cosine, rounding_margin

ROWS = 512  # rows of one block: fewer follow the staircase closer, more keep the product efficient
PICKS = 24  # violated pairs taken per row and round: the worst one, and a random choice of the others
_DTYPES = np.int64, np.int32, np.float64
TOLERANCE = 1e-12  # float64 rounding of cosines and duals; the bound allows for it


@dataclass(frozen=True)
class Violations:
    """Pairs that break the duals: their row, column and exact cosine (parallel arrays)."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def violations(a: Dictionary, b: Dictionary, limit_a, limit_b, u, v, held_at, *, tiles, threads: int) -> Violations:
    """Pairs with cosine above `u[i] + v[j]`; none only if no pair of all n x m is so.

    At most PICKS pairs of a row are returned. `limit_a` `(n,)` and `limit_b` `(m,)` bound the cosines of the pairs
    that were not listed by that row or column.

    `held_at` `(n,)` float64 is the row dual at which a row was last found to break nothing beyond what was returned;
    infinity before. As prices v only rise, a row needs no second look until its dual falls below. Updated in place.

    `tiles(a, b, rows, columns, limit, low)` multiplies, as `cpu_products.tiles` does.

    Raises:
        StudyError: it multiplies wrongly: a pair's exact cosine breaks nothing. The matching would never end.
    """
    fallen = u < held_at - TOLERANCE / 10
    margin = rounding_margin(a.rows.shape[1])
    reach = limit_a - u
    reach[~fallen] = -np.inf
    row_order = np.argsort(-reach, kind="stable")[: fallen.sum()]
    held_at[fallen] = u[fallen]
    column_order = np.argsort(v, kind="stable")
    sorted_v = v[column_order]
    column_reach = limit_b - v

    def block(start: int):
        rows = row_order[start : start + ROWS]
        columns = column_order[: np.searchsorted(sorted_v, reach[rows[0]])]
        columns = columns[column_reach[columns] > u[rows].min()]
        return _block(a, b, rows, columns, u, v, margin, held_at, tiles)

    starts = [start for start in range(0, len(row_order), ROWS) if reach[row_order[start]] > sorted_v[0]]
    with workers(threads) as pool:
        found = list(pool.map(block, starts))
    parts = [np.concatenate(part) for part in zip(*found, strict=True)] if found else [[], [], []]
    rows, columns, values = (np.asarray(part, dtype) for part, dtype in zip(parts, _DTYPES, strict=True))
    false = np.flatnonzero(values - u[rows] - v[columns] <= 0)
    if false.size:
        i, j = rows[false[0]], columns[false[0]]
        raise StudyError(
            f"matching: the product of row {i} and row {j} is off by more than float32 rounds ({false.size} such "
            "pairs); this is a fault of the device or its libraries: match on another one, or report it"
        )
    return Violations(rows, columns, values)


def _block(a: Dictionary, b: Dictionary, rows, columns, u, v, margin, held_at, tiles):
    """Violations of one block of rows against `columns`; rows with more than PICKS must be looked at again."""
    picks = np.empty((rows.size, PICKS), np.int32)
    count = np.zeros(rows.size, np.int64)
    worst = np.zeros(rows.size)
    # Rounding to float32 must not raise the limit: the margin is twice the product's own error, and prices, which
    # may be large, have one of their own.
    rounding = 2.0**-22 * (1 + np.abs(v[columns]) + np.abs(u[rows]).max())
    low = (v[columns] - 2 * margin - rounding).astype(np.float32)
    norms = (a.inverse_norm, b.inverse_norm)
    for tile, some, low_v in tiles(a.unit, b.unit, rows, columns, u[rows].astype(np.float32), low):
        _scan(tile, rows, some, u, v, low_v, a.rows, b.rows, *norms, margin, picks, count, worst)
    held_at[rows[count > PICKS]] = np.inf
    return _collect(rows, picks, count, u, v, a.rows, b.rows, *norms)


@njit(nogil=True, cache=True)
def _scan(tile, rows, columns, u, v, low_v, a, b, inverse_a, inverse_b, margin, picks, count, worst):
    """Note violated pairs of a tile: the worst first in `picks`, the others as a reservoir sample."""
    stride = 32
    width = columns.size
    for r in range(rows.size):
        i = rows[r]
        line = tile[r]
        limit = np.float32(u[i])
        for s in range(0, width, stride):
            end = min(s + stride, width)
            hits = 0
            for q in range(s, end):
                hits += line[q] - limit > low_v[q]
            if hits == 0:
                continue
            for q in range(s, end):
                if line[q] - limit > low_v[q]:
                    j = columns[q]
                    excess = np.float64(line[q]) - u[i] - v[j]
                    if excess <= margin + TOLERANCE:
                        excess = cosine(a, b, inverse_a, inverse_b, i, j) - u[i] - v[j]
                    if excess > TOLERANCE:
                        _pick(picks, count, worst, r, j, excess)


@njit(nogil=True, cache=True)
def _pick(picks, count, worst, r, j, excess):
    seen = count[r]
    count[r] = seen + 1
    if excess > worst[r]:
        worst[r] = excess
        if seen > 0:
            picks[r, 0], j = j, picks[r, 0]
    if seen < picks.shape[1]:
        picks[r, seen] = j
        return
    # A hash of row and column, not of time or thread: the same pairs on every run. Rows with equal preferences
    # (copies of one latent) must not all choose the same columns.
    mixed = (np.uint64(r + 1) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(j + 1) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    place = np.int64(mixed % np.uint64(seen))
    if place < picks.shape[1] - 1:
        picks[r, 1 + place] = j


@njit(nogil=True, cache=True)
def _collect(rows, picks, count, u, v, a, b, inverse_a, inverse_b):
    total = 0
    for r in range(rows.size):
        total += min(count[r], picks.shape[1])
    out_rows = np.empty(total, np.int64)
    out_columns = np.empty(total, np.int32)
    values = np.empty(total)
    taken = 0
    for r in range(rows.size):
        for k in range(min(count[r], picks.shape[1])):
            out_rows[taken] = rows[r]
            out_columns[taken] = picks[r, k]
            values[taken] = cosine(a, b, inverse_a, inverse_b, rows[r], picks[r, k])
            taken += 1
    return out_rows, out_columns, values
