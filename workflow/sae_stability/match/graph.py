"""Candidate lists to a sparse problem: every listed pair once, by row, with its exact cosine."""

import numpy as np
from numba import njit, prange

from sae_stability.match.candidates import Best
from sae_stability.match.pricing import Violations
from sae_stability.match.rows import Rows, cosine
from sae_stability.match.solver import Graph


def build(a: Rows, b: Rows, best_a: Best, best_b: Best) -> Graph:
    """The pairs listed by either side, and one random column a row so that every row can be matched.

    Needs no more rows in `a` than in `b`.
    """
    n, m = len(a.given), len(b.given)
    # Without these a few rows may compete for too few columns and the sparse problem has no full matching.
    spare = np.random.default_rng(0).permutation(m)[:n].astype(np.int32)
    start = _count(n, best_a.count, best_b.partner, best_b.count)
    columns = np.empty(start[-1], np.int32)
    used = _fill(start, columns, best_a.partner, best_a.count, best_b.partner, best_b.count, spare)
    indptr = np.concatenate(([0], np.cumsum(used)))
    packed = np.empty(indptr[-1], np.int32)
    _pack(start, columns, indptr, packed)
    values = np.empty(packed.size)
    _values(a.given, b.given, a.inverse_norm, b.inverse_norm, indptr, packed, values)
    return Graph(indptr, packed, values)


def extended(graph: Graph, found: Violations) -> Graph:
    """`graph` with further pairs, not in it yet."""
    rows, columns, values = found.rows, found.columns, found.values
    n = graph.indptr.size - 1
    extra = np.bincount(rows, minlength=n)
    indptr = graph.indptr + np.concatenate(([0], np.cumsum(extra)))
    all_columns = np.empty(indptr[-1], np.int32)
    all_values = np.empty(indptr[-1])
    order = np.argsort(rows, kind="stable")
    _merge(graph.indptr, graph.columns, graph.values, columns[order], values[order], indptr, all_columns, all_values)
    return Graph(indptr, all_columns, all_values)


@njit(cache=True)
def _count(n, count_a, partner_b, count_b):
    """Where each row's pairs begin, with room for duplicates and the spare."""
    size = np.zeros(n + 1, np.int64)
    for i in range(n):
        size[i + 1] = count_a[i] + 1
    for j in range(count_b.size):
        for k in range(count_b[j]):
            size[partner_b[j, k] + 1] += 1
    return np.cumsum(size)


@njit(cache=True)
def _fill(start, columns, partner_a, count_a, partner_b, count_b, spare):
    """Write each row's columns, sorted and without repeats, at `start[i]`; returns how many."""
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
    for i in range(n):
        line = columns[start[i] : start[i] + used[i]]
        line.sort()
        kept = 0
        for k in range(line.size):
            if k == 0 or line[k] != line[k - 1]:
                line[kept] = line[k]
                kept += 1
        used[i] = kept
    return used


@njit(cache=True)
def _pack(start, columns, indptr, packed):
    for i in range(indptr.size - 1):
        size = indptr[i + 1] - indptr[i]
        packed[indptr[i] : indptr[i + 1]] = columns[start[i] : start[i] + size]


@njit(nogil=True, cache=True)
def _sort_row(columns, values):
    order = np.argsort(-values)
    columns[:] = columns[order]
    values[:] = values[order]


@njit(nogil=True, cache=True, parallel=True)
def _values(a, b, inverse_a, inverse_b, indptr, columns, values):
    for i in prange(indptr.size - 1):
        begin, end = indptr[i], indptr[i + 1]
        for e in range(begin, end):
            values[e] = cosine(a, b, inverse_a, inverse_b, i, columns[e])
        _sort_row(columns[begin:end], values[begin:end])


@njit(cache=True)
def _merge(indptr, columns, values, new_columns, new_values, out_indptr, out_columns, out_values):
    taken = 0
    for i in range(indptr.size - 1):
        old = indptr[i + 1] - indptr[i]
        begin, end = out_indptr[i], out_indptr[i + 1]
        out_columns[begin : begin + old] = columns[indptr[i] : indptr[i + 1]]
        out_values[begin : begin + old] = values[indptr[i] : indptr[i + 1]]
        extra = end - begin - old
        if extra:
            out_columns[begin + old : end] = new_columns[taken : taken + extra]
            out_values[begin + old : end] = new_values[taken : taken + extra]
            taken += extra
            _sort_row(out_columns[begin:end], out_values[begin:end])
