"""The sparse assignment problem, solved exactly, with the duals that prove it.

Shortest augmenting paths after Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
assignment problems" (Computing 38, 1987): augmenting row reduction first, then one Dijkstra search for each row still
free. Where many rows are free, an auction with falling steps sets prices before that (Bertsekas, "The auction
algorithm: a distributed relaxation method for the assignment problem", Annals of Operations Research 14, 1988).
Values are maximised. Duals are u (rows) and v >= 0 (columns) with u_i + v_j >= value_ij on every edge and equality on
matched ones. v never falls below 0, so the gain of an edge, its value minus v, is at most its value: with edges sorted
by falling value, the scan of a row can stop early.
"""

from dataclasses import dataclass

import numpy as np

from sae_stability.compiled import cached_njit

FREE = -1
ROUNDING = 1e-13  # error of a cosine minus a price
SWEEPS = 12  # bids per row, on average, before searches take over: near-equal rows may outbid each other for long
# Smallest increments of a bid, from coarse to fine. Rows of a tight cluster outbid each other by their differences,
# 1e-4 or less, until prices have risen by some 0.5 and one row does better elsewhere: coarse steps get there at once,
# and fine steps settle which rows stay.
STEPS = tuple(0.05 / 5**k for k in range(8))
STEP_SWEEPS = 100  # most bids per row and step, on average; a step seldom needs 20
MANY = (
    4  # the auction needs more than n / MANY free rows: with fewer, coarse steps disturb more prices than they settle
)


@dataclass
class Graph:
    """Candidate pairs in rows: edges `indptr[i]:indptr[i + 1]` of row i, by falling value (float64)."""

    indptr: np.ndarray
    columns: np.ndarray
    values: np.ndarray


@dataclass
class State:
    """A partial matching and its column duals; the next `solve` starts from it.

    Attributes:
        column_of: `(n,)` int32, matched column of each row, or FREE.
        row_of: `(m,)` int32, matched row of each column, or FREE.
        value_of: `(n,)` float64, value of each row's matched edge.
        v: `(m,)` float64, column duals (prices).
    """

    column_of: np.ndarray
    row_of: np.ndarray
    value_of: np.ndarray
    v: np.ndarray

    @classmethod
    def empty(cls, n: int, m: int) -> "State":
        """Nothing matched, no prices."""
        return cls(np.full(n, FREE, np.int32), np.full(m, FREE, np.int32), np.zeros(n), np.zeros(m))


def solve(graph: Graph, state: State) -> np.ndarray:
    """Match every row of the graph optimally, starting from `state` (changed in place); return the row duals u.

    Every row must be matchable. With fewer rows than columns, unmatched columns must start with v = 0.
    """
    n, m = state.column_of.size, state.row_of.size
    arrays = (graph.indptr, graph.columns, graph.values, state.column_of, state.row_of, state.value_of, state.v)
    _release(*arrays, ROUNDING)
    # Steps leave prices on columns that lose their row again, which is harmless only if every column ends up matched.
    if n == m and MANY * np.count_nonzero(state.column_of == FREE) > n:
        for step in STEPS:
            _release(*arrays, step)
            _bid(*arrays, step, STEP_SWEEPS * n)
        _release(*arrays, ROUNDING)
    free = _bid(*arrays, 0.0, SWEEPS * n)
    _augment(*arrays, free)
    return _row_duals(*arrays)


@cached_njit(nogil=True)
def _row_dual(indptr, columns, values, v, i):
    """max over the row's edges of value - v."""
    best = -np.inf
    for e in range(indptr[i], indptr[i + 1]):
        if values[e] <= best:
            break
        best = max(best, values[e] - v[columns[e]])
    return best


@cached_njit(nogil=True)
def _row_duals(indptr, columns, values, column_of, row_of, value_of, v):
    u = np.empty(column_of.size)
    for i in range(u.size):
        u[i] = _row_dual(indptr, columns, values, v, i)
    return u


@cached_njit(nogil=True)
def _release(indptr, columns, values, column_of, row_of, value_of, v, slack):
    """Unmatch the rows that would gain more than `slack` with another column."""
    for i in range(column_of.size):
        j = column_of[i]
        if j != FREE and value_of[i] - v[j] < _row_dual(indptr, columns, values, v, i) - slack:
            column_of[i] = FREE
            row_of[j] = FREE


@cached_njit(nogil=True)
def _bid(indptr, columns, values, column_of, row_of, value_of, v, step, bids):
    """Each free row in turn takes its best column and raises its price until the second best is better by `step`.

    A displaced row joins the queue. Returns the rows still free when `bids` are used up or, at step 0, when a tie
    cannot be broken.
    """
    n = column_of.size
    queue = np.empty(n, np.int32)
    head = size = 0
    for i in range(n):
        if column_of[i] == FREE:
            queue[size] = i
            size += 1
    left = np.empty(n, np.int32)
    n_left = 0
    while size:
        i = queue[head]
        head = (head + 1) % n
        size -= 1
        first = second = -np.inf
        first_edge = second_edge = -1
        for e in range(indptr[i], indptr[i + 1]):
            if values[e] <= second:
                break
            gain = values[e] - v[columns[e]]
            if gain > first:
                second, second_edge = first, first_edge
                first, first_edge = gain, e
            elif gain > second:
                second, second_edge = gain, e
        if bids <= 0 or second_edge < 0:
            left[n_left] = i
            n_left += 1
            continue
        bids -= 1
        edge = first_edge
        raised = v[columns[edge]] + (first - second) + step
        if raised == v[columns[edge]]:
            if row_of[columns[edge]] != FREE:
                edge = second_edge
            if row_of[columns[edge]] != FREE:
                left[n_left] = i
                n_left += 1
                continue
        else:
            v[columns[edge]] = raised
        j = columns[edge]
        displaced = row_of[j]
        if displaced != FREE:
            column_of[displaced] = FREE
            queue[(head + size) % n] = displaced
            size += 1
        row_of[j] = i
        column_of[i] = j
        value_of[i] = values[edge]
    return left[:n_left].copy()


@cached_njit(nogil=True)
def _heap_push(key, item, size, x, j):
    k = size
    while k > 0:
        parent = (k - 1) >> 1
        if key[parent] <= x:
            break
        key[k], item[k] = key[parent], item[parent]
        k = parent
    key[k], item[k] = x, j


@cached_njit(nogil=True)
def _heap_pop(key, item, size):
    """Remove the smallest of `size` entries; it is read from position 0 before the call."""
    last, x, j = size - 1, key[size - 1], item[size - 1]
    k = 0
    while True:
        child = 2 * k + 1
        if child >= last:
            break
        if child + 1 < last and key[child + 1] < key[child]:
            child += 1
        if key[child] >= x:
            break
        key[k], item[k] = key[child], item[child]
        k = child
    key[k], item[k] = x, j


@cached_njit(nogil=True)
def _augment(indptr, columns, values, column_of, row_of, value_of, v, free):
    """Augment from each free row along the shortest path (by reduced loss) to a free column; duals stay optimal."""
    m = row_of.size
    distance = np.full(m, np.inf)
    edge_to = np.empty(m, np.int64)
    from_row = np.empty(m, np.int32)
    touched = np.empty(m, np.int32)
    scanned = np.empty(m, np.int32)
    # A search pushes each edge at most once, so this is large enough; memory that is never written costs nothing.
    key = np.empty(values.size)
    item = np.empty(values.size, np.int32)
    for source in free:
        n_touched = n_scanned = size = 0
        end, end_distance = -1, np.inf
        i, base = source, 0.0
        dual = _row_dual(indptr, columns, values, v, i)
        while True:
            for e in range(indptr[i], indptr[i + 1]):
                loss = base + (dual - values[e])
                if loss >= end_distance:
                    break
                j = columns[e]
                # rounding may leave a reduced loss of -1e-16
                loss = max(base, loss + v[j])
                if loss < end_distance and loss < distance[j]:
                    if distance[j] == np.inf:
                        touched[n_touched] = j
                        n_touched += 1
                    distance[j] = loss
                    edge_to[j] = e
                    from_row[j] = i
                    if row_of[j] == FREE:
                        end, end_distance = j, loss
                    else:
                        _heap_push(key, item, size, loss, j)
                        size += 1
            j = -1
            while size and key[0] < end_distance:
                j = item[0]
                base = key[0]
                _heap_pop(key, item, size)
                size -= 1
                if base == distance[j]:
                    break
                j = -1
            if j < 0:
                break
            scanned[n_scanned] = j
            n_scanned += 1
            i = row_of[j]
            dual = value_of[i] - v[j]
        for s in range(n_scanned):
            v[scanned[s]] += end_distance - distance[scanned[s]]
        j = end
        while j >= 0:
            i = from_row[j]
            previous = column_of[i]
            column_of[i] = j
            row_of[j] = i
            value_of[i] = values[edge_to[j]]
            j = previous if i != source else -1
        for s in range(n_touched):
            distance[touched[s]] = np.inf
