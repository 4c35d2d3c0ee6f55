"""The most similar partner of each row, many to one."""

import numpy as np
from numba import njit

from sae_stability.match.candidates import Best
from sae_stability.match.rows import Rows, cosine, rounding_margin


def nearest(a: Rows, b: Rows, best: Best) -> tuple[np.ndarray, np.ndarray]:
    """Index `(n,)` int64 and exact cosine `(n,)` float64 of the row of `b` most similar to each row of `a`.

    Among equal cosines the lowest index wins. `best` lists each row's candidates.
    """
    partner = np.empty(len(a.given), np.int64)
    value = np.empty(len(a.given))
    margin = 2 * rounding_margin(a.given.shape[1])
    _nearest(
        a.given, b.given, a.inverse_norm, b.inverse_norm, best.value, best.partner, best.count, margin, partner, value
    )
    return partner, value


@njit(nogil=True, cache=True)
def _nearest(a, b, inverse_a, inverse_b, listed, partners, count, margin, partner, value):
    for i in range(partner.size):
        top = -np.inf
        for k in range(count[i]):
            top = max(top, listed[i, k])
        partner[i], value[i] = -1, -np.inf
        for k in range(count[i]):
            if listed[i, k] >= top - margin:
                j = partners[i, k]
                x = cosine(a, b, inverse_a, inverse_b, i, j)
                if x > value[i] or (x == value[i] and j < partner[i]):
                    partner[i], value[i] = j, x
