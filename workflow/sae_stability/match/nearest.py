"""The most similar partner of each row, many to one."""

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.match.blas_threads import workers
from sae_stability.match.candidates import COLUMNS, PartnerLists
from sae_stability.match.rows import Dictionary, cosine, rounding_margin

ROWS = 512  # rows compared again at a time


def nearest(
    a: Dictionary, b: Dictionary, best_a: PartnerLists, best_b: PartnerLists, *, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Index `(n,)` int64 and exact cosine `(n,)` float64 of the row of `b` most similar to each row of `a`.

    Of equal cosines the lowest index wins. `best_a` and `best_b` list the candidates of each row of `a` and of `b`. If
    a row's list ends so close below its best that a pair outside it might be better (many near-copies in `b`), the row
    is compared again, in float32 and then exactly, with every row of `b` whose own best product is as large.
    """
    partner = np.zeros(len(a.rows), np.int64)
    value = np.zeros(len(a.rows))
    row_arrays = (a.rows, b.rows, a.inverse_norm, b.inverse_norm)
    _best_listed(*row_arrays, best_a.value, best_a.partner, best_a.count, 2 * best_a.error, partner, value)
    unsure = np.flatnonzero((best_a.bound.astype(np.float64) + best_a.error >= value) & (a.inverse_norm > 0))
    unsure = unsure[np.argsort(-value[unsure], kind="stable")]
    listed = np.arange(best_b.value.shape[1]) < best_b.count[:, None]
    reach = np.where(listed, best_b.value, -np.inf).max(axis=1).astype(np.float64) + best_b.error
    margin = 2 * rounding_margin(a.rows.shape[1])

    def block(rows: np.ndarray) -> None:
        columns = np.flatnonzero(reach >= value[rows].min())
        top = np.full(rows.size, -np.inf, np.float32)
        partner[rows], value[rows] = -1, -np.inf
        for start in range(0, columns.size, COLUMNS):
            column_block = columns[start : start + COLUMNS]
            tile = a.unit[rows] @ b.unit[column_block].T
            _best_compared(*row_arrays, tile, rows, column_block, margin, top, partner, value)

    with workers(threads) as pool:
        for _ in pool.map(block, (unsure[start : start + ROWS] for start in range(0, unsure.size, ROWS))):
            pass
    return partner, value


@cached_njit(nogil=True)
def _better(x, j, value, partner):
    return x > value or (x == value and j < partner)


@cached_njit(nogil=True)
def _best_listed(a, b, inverse_a, inverse_b, listed, partners, count, margin, partner, value):
    """The best partner in each row's list; a zero row keeps partner 0, at cosine 0."""
    for i in range(partner.size):
        if inverse_a[i] == 0.0:
            continue
        top = listed[i, 0]
        for k in range(1, count[i]):
            top = max(top, listed[i, k])
        partner[i], value[i] = -1, -np.inf
        for k in range(count[i]):
            if listed[i, k] >= top - margin:
                j = partners[i, k]
                x = cosine(a, b, inverse_a, inverse_b, i, j)
                if _better(x, j, value[i], partner[i]):
                    partner[i], value[i] = j, x


@cached_njit(nogil=True)
def _best_compared(a, b, inverse_a, inverse_b, tile, rows, columns, margin, top, partner, value):
    """Update the best partner of `rows` with one tile; `top` is each row's largest product so far."""
    for r in range(rows.size):
        i = rows[r]
        for q in range(tile.shape[1]):
            top[r] = max(top[r], tile[r, q])
        for q in range(tile.shape[1]):
            if tile[r, q] >= top[r] - margin:
                x = cosine(a, b, inverse_a, inverse_b, i, columns[q])
                if _better(x, columns[q], value[i], partner[i]):
                    partner[i], value[i] = columns[q], x
