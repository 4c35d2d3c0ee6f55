"""The auction of the sparse solver, which decides how long a hard problem takes, and its column prices."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from sae_stability.match import solver


def two_clusters(n):
    """Values near 1 within two clusters of `n` rows each and near 0 between; the second has 10 more columns."""
    generator = np.random.default_rng(0)
    row_in_second = np.arange(2 * n) >= n
    column_in_second = np.arange(2 * n) >= n - 10
    same = row_in_second[:, None] == column_in_second
    return np.where(same, 1 - 1e-4 * generator.random((2 * n, 2 * n)), 0.1 * generator.random((2 * n, 2 * n)))


def as_graph(values):
    order = np.argsort(-values, axis=1)
    n, m = values.shape
    return solver.Graph(
        np.arange(n + 1) * m, order.ravel().astype(np.int32), np.take_along_axis(values, order, axis=1).ravel()
    )


def searched(values, monkeypatch):
    """The objective, and how many rows the auction left to the searches."""
    left = []
    augment = solver._augment
    monkeypatch.setattr(solver, "_augment", lambda *arrays: (left.append(arrays[-1].size), augment(*arrays)))
    state = solver.State.empty(*values.shape)
    solver.solve(as_graph(values), state)
    return state.value_of.sum(), left[0]


def test_the_auction_steps_leave_few_rows_of_a_cluster_to_the_searches(monkeypatch):
    values = two_clusters(100)
    rows, columns = linear_sum_assignment(values, maximize=True)
    objective, left = searched(values, monkeypatch)
    assert abs(objective - values[rows, columns].sum()) < 1e-10
    assert left <= 4
    monkeypatch.undo()
    monkeypatch.setattr(solver, "STEPS", ())
    assert searched(values, monkeypatch)[1] >= 10


def test_columns_that_stay_free_keep_price_zero():
    values = two_clusters(40)[:60]
    state = solver.State.empty(60, 80)
    u = solver.solve(as_graph(values), state)
    assert (state.v[state.row_of == solver.FREE] == 0).all()
    assert (u[:, None] + state.v >= values - 1e-12).all()
    assert abs(u.sum() + state.v.sum() - state.value_of.sum()) < 1e-10
