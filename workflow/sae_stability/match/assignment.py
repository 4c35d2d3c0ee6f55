"""The exact one-to-one assignment of two dictionaries by cosine, with a certificate of optimality."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sae_stability.devices import cores
from sae_stability.errors import StudyError
from sae_stability.match import cpu_products, duplicate_rows, graph, pricing, solver
from sae_stability.match.nearest import nearest
from sae_stability.match.peak_memory import peak_bytes, reset_peak
from sae_stability.match.rows import Dictionary, prepare

CANDIDATES = 16  # partners kept a row and a column; the proof adds the few pairs that are missing
SOLVER = "sparse shortest augmenting paths, all pairs priced"
GAP_PER_ROW = 1e-6


@dataclass(frozen=True)
class Assignment:
    """A one-to-one matching of the n rows of `a` with the m rows of `b` that maximises the sum of cosines.

    min(n, m) pairs are matched. A zero row has cosine 0 with everything. Among equally good partners the lower index
    is `best`; among equally good matchings any one may be returned, the same one on every run on the same machine.

    Attributes:
        counterpart: `(n,)` int64, matched row of `b`, -1 where n > m leaves a row unmatched.
        cosine: `(n,)` float64 cosine of each matched pair, NaN where unmatched.
        best, best_cosine: `(n,)` most similar row of `b` (many to one) and its cosine.
        reverse_best, reverse_best_cosine: `(m,)` most similar row of `a` for each row of `b`.
        objective: sum of the matched cosines.
        bound: upper bound on that sum for every matching, from duals that hold for all n x m pairs.
        gap: bound - objective; at most 1e-6 * min(n, m).
        rounds: times that the duals were held against all pairs.
        device: where the products were computed.
        seconds: wall clock.
        peak_bytes: the process's largest resident memory meanwhile (with what it held before).
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

    Products in tiles, of low precision with a known error, list candidates; the sparse problem of the candidates is
    solved with exact (float64) cosines; every pair is then held against the duals, pairs that break them are added, and
    the problem is solved again until none is left. The n x m matrix is never held.

    Args:
        a, b: `(n, d)` and `(m, d)`, numpy or torch, float16, bfloat16 or float32; or what `rows.prepare` made of them,
            so that several matchings need it once. Norms do not matter.
        device: None or "cpu", or a CUDA device; without one the CPU is used, with a warning.
        threads: CPU threads; default all that this process may use.
        progress: called with the fraction of the work done, in [0, 1].

    Raises:
        StudyError: NaN or infinity in a row (named), widths that differ, or a gap that cannot be closed.

    Example:
        >>> import numpy as np
        >>> from sae_stability.match import match_rows
        >>> a = np.random.default_rng(0).normal(size=(4, 16))
        >>> found = match_rows(a, a[[2, 0, 3, 1]])
        >>> found.counterpart.tolist()
        [1, 3, 0, 2]
        >>> bool(np.allclose(found.cosine, 1)), found.gap < 4e-6
        (True, True)
    """
    started = time.perf_counter()
    reset_peak()
    rows_a, rows_b = (x if isinstance(x, Dictionary) else prepare(x, name) for x, name in ((a, "a"), (b, "b")))
    if rows_a.rows.shape[1] != rows_b.rows.shape[1]:
        raise StudyError(
            f"a has rows of width {rows_a.rows.shape[1]}, b of width {rows_b.rows.shape[1]}; "
            "only dictionaries of one hookpoint can be matched"
        )
    backend = _backend(device)
    threads = threads or cores()
    with backend.session():
        if len(rows_a.rows) > len(rows_b.rows):
            result = _transposed(_match(rows_b, rows_a, backend, threads, progress), len(rows_a.rows))
        else:
            result = _match(rows_a, rows_b, backend, threads, progress)
    return replace(result, seconds=time.perf_counter() - started, peak_bytes=peak_bytes())


def _backend(device: str | None):
    """The module that multiplies: numpy's for the CPU, torch's for CUDA."""
    if device is None or str(device) == "cpu":
        return cpu_products.cpu()
    from sae_stability.match.cuda_products import Torch, available

    return Torch(str(device)) if available(str(device)) else cpu_products.cpu()


def _match(a: Dictionary, b: Dictionary, backend, threads: int, progress) -> Assignment:
    """`match_rows` for no more rows in `a` than in `b`."""
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
    # In float64: a float32 sum could round the error allowance away.
    limit_a = best_a.bound.astype(np.float64) + best_a.error
    limit_b = best_b.bound.astype(np.float64) + best_b.error
    held_at = np.full(n, np.inf)
    rounds = 0
    while True:
        u = solver.solve(edges, state)
        rounds += 1
        found = pricing.violations(a, b, limit_a, limit_b, u, state.v, held_at, tiles=backend.tiles, threads=threads)
        if not found.rows.size:
            break
        edges = graph.extended(edges, found)
        if n < m:
            # A column that this round leaves free must have price 0, which only a fresh start ensures.
            state = solver.State.empty(n, m)
            held_at[:] = np.inf
    objective = float(state.value_of.sum())
    bound = float(u.sum() + state.v.sum()) + 2 * n * pricing.TOLERANCE
    if not bound - objective <= GAP_PER_ROW * n:
        raise StudyError(
            f"matching {n} x {m} rows: bound {bound} and objective {objective} differ by more than "
            f"{GAP_PER_ROW} a row; this is a fault of the solver, please report it with the two dictionaries"
        )
    return Assignment(
        state.column_of.astype(np.int64),
        state.value_of,
        best,
        best_cosine,
        reverse_best,
        reverse_best_cosine,
        objective,
        bound,
        bound - objective,
        rounds,
        backend.device,
        0.0,
        0,
    )


def _transposed(of_b: Assignment, n: int) -> Assignment:
    """The assignment seen from the side with more rows, `n` of them."""
    counterpart = np.full(n, -1, np.int64)
    cosine = np.full(n, np.nan)
    counterpart[of_b.counterpart] = np.arange(of_b.counterpart.size)
    cosine[of_b.counterpart] = of_b.cosine
    return replace(
        of_b,
        counterpart=counterpart,
        cosine=cosine,
        best=of_b.reverse_best,
        best_cosine=of_b.reverse_best_cosine,
        reverse_best=of_b.best,
        reverse_best_cosine=of_b.best_cosine,
    )
