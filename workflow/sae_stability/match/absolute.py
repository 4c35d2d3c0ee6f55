"""The one-to-one assignment that maximises the sum of |cosine|, which some libraries report.

Exact, by the same steps as `assignment.match_rows`: products list candidate pairs, the sparse problem of the candidates
is solved, and all pairs are checked against the duals until none violates them. It is a module of its own because the
kernels of `match_rows` compare signed cosines; here numpy computes the products for the check.
"""

import numpy as np

from sae_stability.devices import thread_count
from sae_stability.errors import StudyError
from sae_stability.match import graph, pricing, solver
from sae_stability.match.assignment import CANDIDATES, GAP_PER_ROW
from sae_stability.match.candidates import COLUMNS, PartnerLists, sweep
from sae_stability.match.rows import Dictionary, rounding_margin

ABSOLUTE = "mean_absolute_cosine_decoder"
"""What match files and overlap tables call the result for two decoders."""
HEIGHT = 1024  # rows of a tile
PAIRS = 1 << 14  # pairs whose cosine is computed in float64 at a time


def mean_absolute_cosine(a: Dictionary, b: Dictionary, threads: int | None = None) -> float:
    """(1 / min(n, m)) * max over one-to-one matchings of the sum of |cosine| of the matched rows.

    Args:
        a, b: `(n, d)` and `(m, d)`, made by `rows.prepare`.
        threads: CPU threads; default all that this process may use.

    Raises:
        StudyError: the upper bound exceeds the sum by more than 1e-6 per row.
    """
    if len(a.rows) > len(b.rows):
        a, b = b, a
    n, m = len(a.rows), len(b.rows)
    best_a, best_b = _best_partners(a, b, thread_count(threads))
    edges = _with_absolute_values(graph.build(a, b, best_a, best_b))
    limits = tuple(best.bound.astype(np.float64) + best.error for best in (best_a, best_b))
    state = solver.State.empty(n, m)
    while True:
        u = solver.solve(edges, state)
        violated = _violations(a, b, *limits, u, state.v)
        if not violated.rows.size:
            break
        edges = graph.extended(edges, violated)
        if n < m:
            # A column that stays unmatched must have price 0. Prices never fall, so only a fresh start ensures that.
            state = solver.State.empty(n, m)
    total = float(state.value_of.sum())
    bound = float(u.sum() + state.v.sum()) + 2 * n * pricing.TOLERANCE
    if not bound - total <= GAP_PER_ROW * n:
        raise StudyError(
            f"matching {n} x {m} rows by |cosine|: bound {bound} and sum {total} differ by more than {GAP_PER_ROW} "
            "per row; this is a bug in the solver: please report it with the two dictionaries"
        )
    return total / n


def _best_partners(a: Dictionary, b: Dictionary, threads: int) -> tuple[PartnerLists, PartnerLists]:
    """For each row of `a` and each row of `b`, the partners with the largest |cosine|."""
    error = rounding_margin(a.rows.shape[1])
    best_a = PartnerLists.of_rows(a.unit, min(CANDIDATES, len(b.rows)), error)
    best_b = PartnerLists.of_rows(b.unit, min(CANDIDATES, len(a.rows)), error)

    def multiply(row: int, column: int, tile: np.ndarray) -> None:
        rows, columns = a.unit[row : row + HEIGHT], b.unit[column : column + COLUMNS]
        products = tile[: len(rows), : len(columns)]
        np.matmul(rows, columns.T, out=products)
        np.abs(products, out=products)

    sweep(best_a, best_b, HEIGHT, multiply, threads)
    return best_a, best_b


def _with_absolute_values(edges: solver.Graph) -> solver.Graph:
    """The same edges with |cosine| as value; each row is sorted by falling value again."""
    values = np.abs(edges.values)
    row = np.repeat(np.arange(edges.indptr.size - 1), np.diff(edges.indptr))
    order = np.lexsort((edges.columns, -values, row))
    return solver.Graph(edges.indptr, edges.columns[order], values[order])


def _violations(a: Dictionary, b: Dictionary, limit_a, limit_b, u: np.ndarray, v: np.ndarray) -> pricing.Violations:
    """Pairs with |cosine| above `u[i] + v[j]`; empty only if there are none.

    Of a row with a clear violation, only the `pricing.PICKS` worst pairs are returned. `limit_a` and `limit_b` bound
    |cosine| of the pairs that a row or a column does not list.
    """
    margin = 2 * rounding_margin(a.rows.shape[1])
    rows = np.flatnonzero(limit_a - u > v.min())
    columns = np.flatnonzero(limit_b - v > u.min())
    blocks = []
    for start in range(0, rows.size, HEIGHT):
        block = rows[start : start + HEIGHT]
        excess = np.abs(a.unit[block] @ b.unit[columns].T) - u[block, None] - v[columns]
        if not excess.size:
            continue
        # Within the rounding margin, only the exact cosine decides. A row with a clear violation needs no other pairs
        # than its worst ones in this round.
        possible = excess > -margin
        clear = np.flatnonzero((excess > margin).any(axis=1))
        worst = np.argpartition(-excess[clear], min(pricing.PICKS, columns.size) - 1, axis=1)[:, : pricing.PICKS]
        picked = np.zeros((clear.size, columns.size), bool)
        np.put_along_axis(picked, worst, True, axis=1)
        possible[clear] &= picked
        block_row, block_column = np.nonzero(possible)
        i, j = block[block_row], columns[block_column]
        exact = _absolute_cosines(a, b, i, j)
        violated = exact > u[i] + v[j] + pricing.TOLERANCE
        blocks.append((i[violated], j[violated].astype(np.int32), exact[violated]))
    parts = [np.concatenate(part) for part in zip(*blocks, strict=True)] if blocks else [np.empty(0)] * 3
    return pricing.Violations(*parts)


def _absolute_cosines(a: Dictionary, b: Dictionary, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """|cosine| of row `i[p]` of `a` with row `j[p]` of `b`, (pairs,) float64."""
    values = np.empty(i.size)
    for start in range(0, i.size, PAIRS):
        part = slice(start, start + PAIRS)
        rows, columns = a.rows[i[part]].astype(np.float64), b.rows[j[part]].astype(np.float64)
        values[part] = np.einsum("pd,pd->p", rows, columns) * a.inverse_norm[i[part]] * b.inverse_norm[j[part]]
    return np.minimum(1.0, np.abs(values))
