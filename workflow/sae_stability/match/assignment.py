"""The exact one-to-one assignment of two dictionaries by cosine, with a certificate of optimality."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sae_stability.devices import thread_count
from sae_stability.errors import StudyError
from sae_stability.match import cpu_products, duplicate_rows, graph, pricing, solver
from sae_stability.match.nearest import nearest
from sae_stability.match.peak_memory import peak_bytes, reset_peak
from sae_stability.match.rows import Dictionary, prepare

CANDIDATES = 16  # partners listed per row and per column; the check of all pairs adds the few that are missing
SOLVER = "sparse shortest augmenting paths, all pairs priced"
GAP_PER_ROW = 1e-6


@dataclass(frozen=True)
class Assignment:
    """A one-to-one matching of the n rows of `a` with the m rows of `b` that maximises the sum of cosines.

    min(n, m) pairs are matched. A zero row has cosine 0 with every row. Of equally similar rows, `best` is the one with
    the lowest index. Of equally good matchings any one may be returned, but every run on one machine returns the same.

    Attributes:
        counterpart: `(n,)` int64, matched row of `b`, -1 where n > m leaves a row unmatched.
        cosine: `(n,)` float64 cosine of each matched pair, NaN where unmatched.
        best, best_cosine: `(n,)` most similar row of `b` (many to one) and its cosine.
        reverse_best, reverse_best_cosine: `(m,)` most similar row of `a` for each row of `b`.
        objective: sum of the matched cosines.
        bound: upper bound on that sum for every matching, from duals that hold for all n x m pairs.
        gap: bound - objective; at most 1e-6 * min(n, m).
        rounds: how often all pairs were checked against the duals.
        device: where the products were computed, such as "cpu".
        seconds: wall-clock time of the call.
        peak_bytes: largest resident memory of the process during the call, including all it held before.
        solver: name of the method.
    """

    counterpart: np.ndarray
    cosine: np.ndarray
    best: np.ndarray
    best_cosine: np.ndarray
    reverse_best: np.ndarray
    reverse_best_cosine: np.ndarray
    objective: float
    bound: float
    gap: float
    rounds: int
    device: str
    seconds: float
    peak_bytes: int
    solver: str = SOLVER


def match_rows(
    a, b, *, device: str | None = None, threads: int | None = None, progress: Callable[[float], None] | None = None
) -> Assignment:
    """Match the rows of `a` one to one with rows of `b` so that the sum of their cosines is largest, exactly.

    Low-precision products, whose error is bounded, are computed tile by tile and list candidate pairs. The sparse
    problem of the candidates is solved with exact (float64) cosines. Then all pairs are checked against the duals:
    pairs that violate them are added, and the problem is solved again, until there are none. The n x m matrix is never
    in memory as a whole.

    Args:
        a, b: `(n, d)` and `(m, d)`, numpy or torch, float16, bfloat16 or float32 (float64 is rounded to float32); or
            the `Dictionary` that `rows.prepare` makes of one, to prepare it once for several matchings. Norms do not
            matter.
        device: None or "cpu", or a CUDA device such as "cuda:0". Without a CUDA device the CPU is used, with a warning.
        threads: CPU threads; default all that this process may use.
        progress: called with the fraction of the work done, in [0, 1].

    Raises:
        StudyError: `a` or `b` is not a matrix of real numbers, a row has NaN or infinity, widths differ, no such
            device, `threads` is below 1, or the gap is too large.

    Example:
        >>> import numpy as np
        >>> from sae_stability.match import match_rows
        >>> a = np.random.default_rng(0).normal(size=(4, 16))
        >>> matching = match_rows(a, a[[2, 0, 3, 1]])
        >>> matching.counterpart.tolist()
        [1, 3, 0, 2]
        >>> bool(np.allclose(matching.cosine, 1)), matching.gap < 4e-6
        (True, True)
    """
    started = time.perf_counter()
    reset_peak()
    threads = thread_count(threads)
    rows_a, rows_b = (x if isinstance(x, Dictionary) else prepare(x, name) for x, name in ((a, "a"), (b, "b")))
    if rows_a.rows.shape[1] != rows_b.rows.shape[1]:
        raise StudyError(
            f"a has rows of width {rows_a.rows.shape[1]}, b of width {rows_b.rows.shape[1]}; "
            "only dictionaries of one hookpoint can be matched"
        )
    backend = _backend(device)
    with backend.session():
        if len(rows_a.rows) > len(rows_b.rows):
            result = _transposed(_match(rows_b, rows_a, backend, threads, progress), len(rows_a.rows))
        else:
            result = _match(rows_a, rows_b, backend, threads, progress)
    return replace(result, seconds=time.perf_counter() - started, peak_bytes=peak_bytes())


def _backend(device: str | None):
    """The object that computes products: on the CPU, or by torch on a CUDA device."""
    if device is None or str(device) == "cpu":
        return cpu_products.fastest()
    from sae_stability.match.cuda_products import TorchProducts, available

    return TorchProducts(str(device)) if available(str(device)) else cpu_products.fastest()


def _match(a: Dictionary, b: Dictionary, backend, threads: int, progress) -> Assignment:
    """`match_rows` where `a` has at most as many rows as `b`."""
    n, m = len(a.rows), len(b.rows)
    best_a, best_b = backend.best_partners(
        a.unit, b.unit, min(CANDIDATES, m), min(CANDIDATES, n), threads=threads, progress=progress
    )
    best, best_cosine = nearest(a, b, best_a, best_b, threads=threads)
    reverse_best, reverse_best_cosine = nearest(b, a, best_b, best_a, threads=threads)
    groups_a, groups_b = duplicate_rows.groups(a), duplicate_rows.groups(b)
    duplicate_rows.spread(best_a, a, groups_a, groups_b)
    duplicate_rows.spread(best_b, b, groups_b, groups_a)
    edges = graph.build(a, b, best_a, best_b)
    state = solver.State.empty(n, m)
    # In float64, because a float32 sum could round the allowance for the error away.
    limit_a = best_a.bound.astype(np.float64) + best_a.error
    limit_b = best_b.bound.astype(np.float64) + best_b.error
    checked_at = np.full(n, np.inf)
    rounds = 0
    while True:
        u = solver.solve(edges, state)
        rounds += 1
        violated = pricing.violations(
            a, b, limit_a, limit_b, u, state.v, checked_at, tiles=backend.tiles, threads=threads
        )
        if not violated.rows.size:
            break
        edges = graph.extended(edges, violated)
        if n < m:
            # A column that stays unmatched must have price 0. Prices never fall, so only a fresh start ensures that.
            state = solver.State.empty(n, m)
            checked_at[:] = np.inf
    objective = float(state.value_of.sum())
    bound = float(u.sum() + state.v.sum()) + 2 * n * pricing.TOLERANCE
    if not bound - objective <= GAP_PER_ROW * n:
        raise StudyError(
            f"matching {n} x {m} rows: bound {bound} and objective {objective} differ by more than "
            f"{GAP_PER_ROW} per row; this is a bug in the solver: please report it with the two dictionaries"
        )
    return Assignment(
        counterpart=state.column_of.astype(np.int64),
        cosine=state.value_of,
        best=best,
        best_cosine=best_cosine,
        reverse_best=reverse_best,
        reverse_best_cosine=reverse_best_cosine,
        objective=objective,
        bound=bound,
        gap=bound - objective,
        rounds=rounds,
        device=backend.device,
        seconds=0.0,
        peak_bytes=0,
    )


def _transposed(swapped: Assignment, n: int) -> Assignment:
    """The same assignment with the two sides exchanged; `n` is the number of rows of the larger side."""
    counterpart = np.full(n, -1, np.int64)
    cosine = np.full(n, np.nan)
    counterpart[swapped.counterpart] = np.arange(swapped.counterpart.size)
    cosine[swapped.counterpart] = swapped.cosine
    return replace(
        swapped,
        counterpart=counterpart,
        cosine=cosine,
        best=swapped.reverse_best,
        best_cosine=swapped.reverse_best_cosine,
        reverse_best=swapped.best,
        reverse_best_cosine=swapped.best_cosine,
    )
