"""The one-to-one assignment that maximises the sum of |cosine|, which some libraries report.

Exact as `assignment.match_rows` is, and by the same steps: candidates from products, the sparse problem of these, then
every pair held against the duals, until none breaks them. It is apart because all of those kernels compare signed
cosines; here the products of the proof are numpy's.
"""

import numpy as np

from sae_stability.devices import cores
from sae_stability.errors import StudyError
from sae_stability.match import graph, pricing, solver
from sae_stability.match.assignment import CANDIDATES, GAP_PER_ROW
from sae_stability.match.candidates import COLUMNS, Best, sweep
from sae_stability.match.rows import Dictionary, rounding_margin

HEIGHT = 1024  # rows of a tile of products
PAIRS = 1 << 14  # compared exactly at a time, in float64


def mean_absolute_cosine(a: Dictionary, b: Dictionary, threads: int | None = None) -> float:
    """(1 / min(n, m)) * max over one-to-one matchings of the sum of |cosine| of the matched rows.

    Args:
        a, b: `(n, d)` and `(m, d)`, as `rows.prepare` makes them.
        threads: CPU threads; default all that this process may use.

    Raises:
        StudyError: the bound cannot be brought within 1e-6 a row of the sum.
    """
    if len(a.rows) > len(b.rows):
        a, b = b, a
    n, m = len(a.rows), len(b.rows)
    best_a, best_b = _best_partners(a, b, threads or cores())
    edges = _absolute(graph.build(a, b, best_a, best_b))
    limits = tuple(best.bound.astype(np.float64) + best.error for best in (best_a, best_b))
    state = solver.State.empty(n, m)
    while True:
        u = solver.solve(edges, state)
        found = _violations(a, b, *limits, u, state.v)
        if not found.rows.size:
            break
        edges = graph.extended(edges, found)
        if n < m:
            # A column that this round leaves free must have price 0, which only a fresh start ensures.
            state = solver.State.empty(n, m)
    total = float(state.value_of.sum())
    bound = float(u.sum() + state.v.sum()) + 2 * n * pricing.TOLERANCE
    if not bound - total <= GAP_PER_ROW * n:
        raise StudyError(
            f"matching {n} x {m} rows by |cosine|: bound {bound} and sum {total} differ by more than {GAP_PER_ROW} a "
            "row; this is a fault of the solver, please report it with the two dictionaries"
        )
    return total / n


def _best_partners(a: Dictionary, b: Dictionary, threads: int) -> tuple[Best, Best]:
    """The partners of largest |cosine| of each row of `a` and of each row of `b`."""
    error = rounding_margin(a.rows.shape[1])
    best_a = Best.of_rows(a.unit, min(CANDIDATES, len(b.rows)), error)
    best_b = Best.of_rows(b.unit, min(CANDIDATES, len(a.rows)), error)

    def multiply(row: int, column: int, tile: np.ndarray) -> None:
        rows, columns = a.unit[row : row + HEIGHT], b.unit[column : column + COLUMNS]
        products = tile[: len(rows), : len(columns)]
        np.matmul(rows, columns.T, out=products)
        np.abs(products, out=products)

    sweep(best_a, best_b, HEIGHT, multiply, threads)
    return best_a, best_b


def _absolute(edges: solver.Graph) -> solver.Graph:
    """The same pairs with |cosine|, each row's by falling value again."""
    values = np.abs(edges.values)
    row = np.repeat(np.arange(edges.indptr.size - 1), np.diff(edges.indptr))
    order = np.lexsort((edges.columns, -values, row))
    return solver.Graph(edges.indptr, edges.columns[order], values[order])


def _violations(a: Dictionary, b: Dictionary, limit_a, limit_b, u: np.ndarray, v: np.ndarray) -> pricing.Violations:
    """Pairs with |cosine| above `u[i] + v[j]`, the `pricing.PICKS` worst of a row; none only if there is no such pair.

    `limit_a` and `limit_b` bound |cosine| of the pairs that a row or a column did not list.
    """
    margin = 2 * rounding_margin(a.rows.shape[1])
    rows = np.flatnonzero(limit_a - u > v.min())
    columns = np.flatnonzero(limit_b - v > u.min())
    found = []
    for start in range(0, rows.size, HEIGHT):
        some = rows[start : start + HEIGHT]
        excess = np.abs(a.unit[some] @ b.unit[columns].T) - u[some, None] - v[columns]
        if not excess.size:
            continue
        # Only the exact cosine decides about a pair that the rounding of products leaves open. Rows with a pair that is
        # broken for sure need no others of those yet.
        taken = excess > -margin
        sure = np.flatnonzero((excess > margin).any(axis=1))
        worst = np.argpartition(-excess[sure], min(pricing.PICKS, columns.size) - 1, axis=1)[:, : pricing.PICKS]
        picked = np.zeros((sure.size, columns.size), bool)
        np.put_along_axis(picked, worst, True, axis=1)
        taken[sure] &= picked
        place, pick = np.nonzero(taken)
        i, j = some[place], columns[pick]
        exact = _absolute_cosines(a, b, i, j)
        broken = exact > u[i] + v[j] + pricing.TOLERANCE
        found.append((i[broken], j[broken].astype(np.int32), exact[broken]))
    parts = [np.concatenate(part) for part in zip(*found, strict=True)] if found else [np.empty(0)] * 3
    return pricing.Violations(*parts)


def _absolute_cosines(a: Dictionary, b: Dictionary, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """|cosine| of row `i[p]` of `a` with row `j[p]` of `b`, (pairs,) float64."""
    values = np.empty(i.size)
    for start in range(0, i.size, PAIRS):
        part = slice(start, start + PAIRS)
        rows, columns = a.rows[i[part]].astype(np.float64), b.rows[j[part]].astype(np.float64)
        values[part] = np.einsum("pd,pd->p", rows, columns) * a.inverse_norm[i[part]] * b.inverse_norm[j[part]]
    return np.minimum(1.0, np.abs(values))
