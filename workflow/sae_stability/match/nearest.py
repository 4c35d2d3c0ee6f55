"""The most similar partner of each row, many to one."""

import numpy as np
from numba import njit

from sae_stability.match.blas_threads import workers
from sae_stability.match.candidates import COLUMNS, Best
from sae_stability.match.rows import Dictionary, cosine, rounding_margin

ROWS = 512


def nearest(a: Dictionary, b: Dictionary, best: Best, best_b: Best, *, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Index `(n,)` int64 and exact cosine `(n,)` float64 of the row of `b` most similar to each row of `a`.

    Among equal cosines the lowest index wins. `best` lists each row's candidates, `best_b` those of each row of `b`. A
    row whose list ends too close below its best to be sure (many near-copies in `b`) is compared again, in float32 and
    then exactly, with every row of `b` whose own best reaches as high.
    """
    partner = np.zeros(len(a.rows), np.int64)
    value = np.zeros(len(a.rows))
    exact = (a.rows, b.rows, a.inverse_norm, b.inverse_norm)
    _listed(*exact, best.value, best.partner, best.count, 2 * best.error, partner, value)
    unsure = np.flatnonzero((best.bound.astype(np.float64) + best.error >= value) & (a.inverse_norm > 0))
    unsure = unsure[np.argsort(-value[unsure], kind="stable")]
    listed = np.arange(best_b.value.shape[1]) < best_b.count[:, None]
    reach = np.where(listed, best_b.value, -np.inf).max(axis=1).astype(np.float64) + best_b.error
    margin = 2 * rounding_margin(a.rows.shape[1])

    def block(rows: np.ndarray) -> None:
        columns = np.flatnonzero(reach >= value[rows].min())
        top = np.full(rows.size, -np.inf, np.float32)
        partner[rows], value[rows] = -1, -np.inf
        for start in range(0, columns.size, COLUMNS):
            some = columns[start : start + COLUMNS]
            tile = a.unit[rows] @ b.unit[some].T
            _compared(*exact, tile, rows, some, margin, top, partner, value)

    with workers(threads) as pool:
        for _ in pool.map(block, (unsure[start : start + ROWS] for start in range(0, unsure.size, ROWS))):
            pass
    return partner, value


@njit(nogil=True, cache=True)
def _better(x, j, value, partner):
    return x > value or (x == value and j < partner)


@njit(nogil=True, cache=True)
def _listed(a, b, inverse_a, inverse_b, listed, partners, count, margin, partner, value):
    """Best of each row's list; a zero row has cosine 0 with row 0, as with every other."""
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


@njit(nogil=True, cache=True)
def _compared(a, b, inverse_a, inverse_b, tile, rows, columns, margin, top, partner, value):
    for r in range(rows.size):
        i = rows[r]
        for q in range(tile.shape[1]):
            top[r] = max(top[r], tile[r, q])
        for q in range(tile.shape[1]):
            if tile[r, q] >= top[r] - margin:
                x = cosine(a, b, inverse_a, inverse_b, i, columns[q])
                if _better(x, columns[q], value[i], partner[i]):
                    partner[i], value[i] = columns[q], x
