"""The proof of optimality: check all pairs of the two dictionaries against the duals, and find those that violate them.

The cosine of a pair outside the candidate lists is at most the last entry of its row's list and of its column's list.
So only pairs with u_i + v_j below both need a check. With rows sorted by how far their limit exceeds u_i, and columns
by price, these pairs form a staircase, a small part of the matrix, and only that part is multiplied again.
"""

from dataclasses import dataclass

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.errors import StudyError
from sae_stability.match.blas_threads import workers
from sae_stability.match.rows import Dictionary, cosine, rounding_margin

ROWS = 512  # rows of one block: fewer follow the staircase closer, more keep the product efficient
PICKS = 24  # violated pairs taken per row and round: the worst one, and a random choice of the others
_DTYPES = np.int64, np.int32, np.float64  # of rows, columns and values
TOLERANCE = 1e-12  # float64 rounding of cosines and duals; the bound allows for it


@dataclass(frozen=True)
class Violations:
    """Pairs that violate the duals: their row, column and exact cosine, in parallel arrays."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


def violations(a: Dictionary, b: Dictionary, limit_a, limit_b, u, v, checked_at, *, tiles, threads: int) -> Violations:
    """Pairs with cosine above `u[i] + v[j]`: at most PICKS of each row, and none only if all n x m pairs have none.

    Args:
        a, b: the two dictionaries.
        limit_a, limit_b: `(n,)` and `(m,)`, upper bounds on the cosines of the pairs that a row or a column did not
            list.
        u, v: `(n,)` and `(m,)`, duals of rows and columns.
        checked_at: `(n,)` float64, the row dual at which all violations of a row were last returned; infinity before.
            Prices v only rise, so a row needs no new check until its dual falls below this. Updated in place.
        tiles: function (a, b, rows, columns, limit, low) that multiplies, as `cpu_products.tiles`.
        threads: CPU threads.

    Raises:
        StudyError: `tiles` multiplies wrongly: it reports a pair whose exact cosine violates nothing. The matching
            would never end.
    """
    fallen = u < checked_at - TOLERANCE / 10
    margin = rounding_margin(a.rows.shape[1])
    reach = limit_a - u
    reach[~fallen] = -np.inf
    row_order = np.argsort(-reach, kind="stable")[: fallen.sum()]
    checked_at[fallen] = u[fallen]
    column_order = np.argsort(v, kind="stable")
    sorted_v = v[column_order]
    column_reach = limit_b - v

    def block(start: int):
        rows = row_order[start : start + ROWS]
        columns = column_order[: np.searchsorted(sorted_v, reach[rows[0]])]
        columns = columns[column_reach[columns] > u[rows].min()]
        return _block(a, b, rows, columns, u, v, margin, checked_at, tiles)

    starts = [start for start in range(0, len(row_order), ROWS) if reach[row_order[start]] > sorted_v[0]]
    with workers(threads) as pool:
        blocks = list(pool.map(block, starts))
    parts = [np.concatenate(part) for part in zip(*blocks, strict=True)] if blocks else [[], [], []]
    rows, columns, values = (np.asarray(part, dtype) for part, dtype in zip(parts, _DTYPES, strict=True))
    wrong = np.flatnonzero(values - u[rows] - v[columns] <= 0)
    if wrong.size:
        i, j = rows[wrong[0]], columns[wrong[0]]
        raise StudyError(
            f"matching: the product of row {i} of a and row {j} of b is off by more than float32 rounding "
            f"({wrong.size} such pairs); the device or its libraries compute wrongly: match on another device, or "
            "report it"
        )
    return Violations(rows, columns, values)


def _block(a: Dictionary, b: Dictionary, rows, columns, u, v, margin, checked_at, tiles):
    """Violations of one block of rows against `columns`; rows with more than PICKS are marked to be checked again."""
    picks = np.empty((rows.size, PICKS), np.int32)
    count = np.zeros(rows.size, np.int64)
    worst = np.zeros(rows.size)
    # Rounding to float32 must not hide a violation: allow for twice the error of a product, and for the rounding of
    # prices, which may be large.
    rounding = 2.0**-22 * (1 + np.abs(v[columns]) + np.abs(u[rows]).max())
    low = (v[columns] - 2 * margin - rounding).astype(np.float32)
    norms = (a.inverse_norm, b.inverse_norm)
    for tile, tile_columns, low_v in tiles(a.unit, b.unit, rows, columns, u[rows].astype(np.float32), low):
        _scan(tile, rows, tile_columns, u, v, low_v, a.rows, b.rows, *norms, margin, picks, count, worst)
    checked_at[rows[count > PICKS]] = np.inf
    return _collect(rows, picks, count, a.rows, b.rows, *norms)


@cached_njit(nogil=True)
def _scan(tile, rows, columns, u, v, low_v, a, b, inverse_a, inverse_b, margin, picks, count, worst):
    """Note the violations of a tile in `picks`: each row's worst one first, the others as a reservoir sample."""
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


@cached_njit(nogil=True)
def _pick(picks, count, worst, r, j, excess):
    """Add one violation of row `r` of the block to `picks`."""
    seen = count[r]
    count[r] = seen + 1
    if excess > worst[r]:
        worst[r] = excess
        if seen > 0:
            picks[r, 0], j = j, picks[r, 0]
    if seen < picks.shape[1]:
        picks[r, seen] = j
        return
    # Chosen by a hash of row and column, so that every run picks the same pairs, and rows with equal preferences
    # (copies of one latent) pick different columns.
    mixed = (np.uint64(r + 1) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(j + 1) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    place = np.int64(mixed % np.uint64(seen))
    if place < picks.shape[1] - 1:
        picks[r, 1 + place] = j


@cached_njit(nogil=True)
def _collect(rows, picks, count, a, b, inverse_a, inverse_b):
    """The picked pairs of all rows, with their exact cosines."""
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
