"""From candidate lists to the sparse assignment problem: every listed pair once, by row, with its exact cosine."""

import numpy as np
from numba import prange

from sae_stability.compiled import cached_njit
from sae_stability.match.candidates import PartnerLists
from sae_stability.match.pricing import Violations
from sae_stability.match.rows import Dictionary, cosine
from sae_stability.match.solver import Graph


def build(a: Dictionary, b: Dictionary, best_a: PartnerLists, best_b: PartnerLists) -> Graph:
    """The pairs listed by either side, and one random column for each row, so that every row can be matched.

    `a` must have at most as many rows as `b`.
    """
    n, m = len(a.rows), len(b.rows)
    # Without these, several rows may list too few columns between them, and not all rows can be matched.
    spare = np.random.default_rng(0).permutation(m)[:n].astype(np.int32)
    listed_by_b = best_b.partner[np.arange(best_b.partner.shape[1]) < best_b.count[:, None]]
    room = best_a.count + 1 + np.bincount(listed_by_b, minlength=n)
    start = np.concatenate(([0], np.cumsum(room)))
    columns = np.empty(start[-1], np.int32)
    indptr = np.zeros(n + 1, np.int64)
    _fill(start, columns, best_a.partner, best_a.count, best_b.partner, best_b.count, spare, np.full(m, -1), indptr)
    columns = columns[: indptr[-1]].copy()
    values = np.empty(columns.size)
    _values(a.rows, b.rows, a.inverse_norm, b.inverse_norm, indptr, columns, values)
    return Graph(indptr, columns, values)


def extended(graph: Graph, violated: Violations) -> Graph:
    """`graph` with the pairs of `violated` added; none of them may be in it yet."""
    rows, columns, values = violated.rows, violated.columns, violated.values
    n = graph.indptr.size - 1
    extra = np.bincount(rows, minlength=n)
    indptr = graph.indptr + np.concatenate(([0], np.cumsum(extra)))
    all_columns = np.empty(indptr[-1], np.int32)
    all_values = np.empty(indptr[-1])
    order = np.argsort(rows, kind="stable")
    _merge(graph.indptr, graph.columns, graph.values, columns[order], values[order], indptr, all_columns, all_values)
    return Graph(indptr, all_columns, all_values)


# Plain loops even where numpy has a function, because numba takes many seconds to compile slices and sorts.


@cached_njit()
def _fill(start, columns, partner_a, count_a, partner_b, count_b, spare, last_row, indptr):
    """Write each row's columns from `start[i]` on, then move them together, without repeats, to `indptr[i]`.

    `last_row` (m,), the last row that listed a column, must be -1.
    """
    n = start.size - 1
    used = np.zeros(n, np.int64)
    for i in range(n):
        for k in range(count_a[i]):
            columns[start[i] + k] = partner_a[i, k]
        columns[start[i] + count_a[i]] = spare[i]
        used[i] = count_a[i] + 1
    for j in range(count_b.size):
        for k in range(count_b[j]):
            i = partner_b[j, k]
            columns[start[i] + used[i]] = j
            used[i] += 1
    kept = 0
    for i in range(n):
        for e in range(start[i], start[i] + used[i]):
            j = columns[e]
            if last_row[j] != i:
                last_row[j] = i
                columns[kept] = j
                kept += 1
        indptr[i + 1] = kept


@cached_njit(nogil=True)
def _sort_row(columns, values, begin, end):
    """Sort a row by falling value, then by column (Shellsort, because most rows are short)."""
    gap = 1
    while gap < (end - begin) // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for k in range(begin + gap, end):
            x, j = values[k], columns[k]
            place = k
            while place - gap >= begin:
                y, column = values[place - gap], columns[place - gap]
                if y > x or (y == x and column < j):
                    break
                values[place], columns[place] = y, column
                place -= gap
            values[place], columns[place] = x, j
        gap //= 3


@cached_njit(nogil=True, parallel=True)
def _values(a, b, inverse_a, inverse_b, indptr, columns, values):
    """Compute the exact cosine of every edge, and sort each row."""
    for i in prange(indptr.size - 1):
        for e in range(indptr[i], indptr[i + 1]):
            values[e] = cosine(a, b, inverse_a, inverse_b, i, columns[e])
        _sort_row(columns, values, indptr[i], indptr[i + 1])


@cached_njit()
def _merge(indptr, columns, values, new_columns, new_values, out_indptr, out_columns, out_values):
    """Write each row's old edges and new edges to the output arrays, and sort the rows with new ones."""
    taken = 0
    for i in range(indptr.size - 1):
        place = out_indptr[i]
        for e in range(indptr[i], indptr[i + 1]):
            out_columns[place], out_values[place] = columns[e], values[e]
            place += 1
        if place == out_indptr[i + 1]:
            continue
        while place < out_indptr[i + 1]:
            out_columns[place], out_values[place] = new_columns[taken], new_values[taken]
            taken += 1
            place += 1
        _sort_row(out_columns, out_values, out_indptr[i], place)
