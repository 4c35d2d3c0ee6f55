"""Exactness of the matching, against scipy's dense solver on every kind of dictionary."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sae_stability.errors import StudyError
from sae_stability.match import assignment, peak_memory, pricing
from sae_stability.match.assignment import match_rows


def cosines(a, b):
    """The n x m cosines in float64; zero rows have 0."""
    a, b = (np.asarray(x, np.float32).astype(np.float64) for x in (a, b))
    norms = (np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    a, b = (np.divide(x, norm, out=np.zeros_like(x), where=norm > 0) for x, norm in zip((a, b), norms, strict=True))
    return a @ b.T


def check(a, b, result):
    """Everything that an Assignment promises."""
    x = cosines(a, b)
    n, m = x.shape
    rows, columns = linear_sum_assignment(x, maximize=True)
    matched = result.counterpart >= 0
    assert matched.sum() == min(n, m)
    assert len(set(result.counterpart[matched])) == min(n, m)
    assert np.isnan(result.cosine[~matched]).all()
    np.testing.assert_allclose(
        result.cosine[matched], x[np.flatnonzero(matched), result.counterpart[matched]], atol=1e-12
    )
    assert result.objective == pytest.approx(x[rows, columns].sum(), abs=1e-9)
    assert result.bound >= x[rows, columns].sum() - 1e-10
    assert result.bound >= result.objective
    assert result.gap <= 1e-9 * n
    np.testing.assert_allclose(result.best_cosine, x.max(1), atol=1e-12)
    np.testing.assert_allclose(x[np.arange(n), result.best], x.max(1), atol=1e-12)
    np.testing.assert_allclose(result.reverse_best_cosine, x.max(0), atol=1e-12)
    np.testing.assert_allclose(x[result.reverse_best, np.arange(m)], x.max(0), atol=1e-12)


def random(generator, n, d):
    return generator.standard_normal((n, d))


def with_ties(generator, n, d):
    return generator.integers(-1, 2, (n, d))


def with_copies(generator, n, d):
    return np.random.default_rng(7).standard_normal((3, d))[generator.integers(0, 3, n)]


def clustered(generator, n, d):
    return with_copies(generator, n, d) + 1e-5 * generator.standard_normal((n, d))


def mixed(generator, n, d):
    kinds = np.stack([kind(generator, n, d) for kind in (random, with_ties, with_copies, clustered)])
    return kinds[generator.integers(0, 4, n), np.arange(n)]


@given(
    kind=st.sampled_from([random, with_ties, with_copies, clustered, mixed]),
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    d=st.integers(1, 8),
    candidates=st.sampled_from([1, 2, 16]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=1500, deadline=None)
def test_any_two_dictionaries_are_matched_as_scipy_matches_them(kind, n, m, d, candidates, seed):
    generator = np.random.default_rng(seed)
    a, b = (kind(generator, size, d).astype(np.float32) for size in (n, m))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "CANDIDATES", candidates)
        check(a, b, match_rows(a, b, threads=1))


def hubs(generator, n, d):
    """An eighth of the rows of `b` are near-copies close to every row of `a`; few candidates miss the optimum."""
    a, b = random(generator, n, d), random(generator, n, d)
    hub = random(generator, 1, d)
    b[: n // 8] = hub + 0.1 * b[: n // 8]
    return a + hub, b


def splitting(generator, n, d):
    """Half of the rows are in four tight clusters, which have other sizes in `a` than in `b`."""
    a, b = random(generator, n, d), random(generator, n, d)
    centres = random(generator, 4, d)
    for x in (a, b):
        x[: n // 2] = centres[generator.integers(0, 4, n // 2)] + 0.05 * x[: n // 2]
    return a, b


def dead_block(generator, n, d):
    """A tenth of the rows are noisy copies, as of trained latents; the others are unrelated random rows."""
    a, b = random(generator, n, d), random(generator, n, d)
    b[: n // 10] = a[: n // 10] + 0.3 * b[: n // 10]
    return a, b[generator.permutation(n)]


def zero_rows(generator, n, d):
    a, b = random(generator, n, d), random(generator, n, d)
    a[: n // 5] = 0
    b[: n // 3] = 0
    return a, b


def exact_copies(generator, n, d):
    a, b = random(generator, n, d), random(generator, n, d)
    centres = random(generator, 3, d)
    for x in (a, b):
        x[: n // 3] = centres[generator.integers(0, 3, n // 3)]
    return a, b


HARD = [hubs, splitting, dead_block, zero_rows, exact_copies]


@pytest.mark.parametrize("case", HARD, ids=lambda case: case.__name__)
@pytest.mark.parametrize("sizes", [(600, 600), (450, 600), (600, 450)], ids=["square", "fewer rows", "more rows"])
def test_hard_dictionaries_are_matched_as_scipy_matches_them(case, sizes):
    a, b = case(np.random.default_rng(3), 600, 24)
    a, b = a[: sizes[0]].astype(np.float32), b[: sizes[1]].astype(np.float32)
    check(a, b, match_rows(a, b, threads=2))


def nothing_found(*args, **kwargs):
    return pricing.Violations(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))


def limits_too_low(a, b, limit_a, limit_b, *args, **kwargs):
    return violations(a, b, limit_a - 0.2, limit_b, *args, **kwargs)


def small_violations_ignored(a, b, limit_a, limit_b, u, v, *args, **kwargs):
    found = violations(a, b, limit_a, limit_b, u, v, *args, **kwargs)
    kept = found.values - u[found.rows] - v[found.columns] > 0.02
    return pricing.Violations(found.rows[kept], found.columns[kept], found.values[kept])


violations = pricing.violations


@pytest.mark.parametrize("broken", [nothing_found, limits_too_low, small_violations_ignored])
def test_the_checks_above_fail_for_a_broken_pricing_step(broken, monkeypatch):
    a, b = (x.astype(np.float32) for x in hubs(np.random.default_rng(3), 600, 24))
    monkeypatch.setattr(assignment, "CANDIDATES", 4)
    check(a, b, match_rows(a, b, threads=1))
    monkeypatch.setattr(pricing, "violations", broken)
    with pytest.raises(AssertionError):
        check(a, b, match_rows(a, b, threads=1))


@pytest.mark.parametrize("case", HARD, ids=lambda case: case.__name__)
def test_pricing_goes_on_until_no_pair_violates_the_duals(case, monkeypatch):
    a, b = (x.astype(np.float32) for x in case(np.random.default_rng(4), 400, 24))
    duals = []
    solve = assignment.solver.solve

    def recorded(edges, state):
        duals.append((solve(edges, state), state.v.copy()))
        return duals[-1][0]

    monkeypatch.setattr(assignment.solver, "solve", recorded)
    monkeypatch.setattr(assignment, "CANDIDATES", 4)
    result = match_rows(a, b, threads=1)
    u, v = duals[-1]
    assert (cosines(a, b) <= u[:, None] + v[None, :] + 1e-11).all()
    assert result.rounds == len(duals) > 1


def test_one_latent():
    result = match_rows([[2.0, 0.0]], [[1.0, 1.0]])
    assert result.counterpart.tolist() == [0]
    assert result.cosine[0] == pytest.approx(2**-0.5)


def test_one_dimension_pairs_equal_signs():
    result = match_rows([[1.0], [-1.0], [3.0]], [[-2.0], [5.0], [1.0]])
    assert result.objective == pytest.approx(3.0)
    assert result.counterpart[1] == 0


@pytest.mark.parametrize("n", [1, 50])
def test_all_rows_identical(n):
    a = np.ones((n, 6), np.float32)
    result = match_rows(a, 3 * a)
    assert result.objective == pytest.approx(n)
    assert sorted(result.counterpart) == list(range(n))


def test_a_zero_row_has_cosine_zero_with_everything():
    result = match_rows([[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]])
    assert result.counterpart.tolist() == [1, 0]
    assert result.cosine.tolist() == [0.0, 1.0]
    assert result.best.tolist() == [0, 0]
    assert result.best_cosine.tolist() == [0.0, 1.0]


def test_all_rows_zero():
    result = match_rows(np.zeros((40, 3)), np.zeros((40, 3)))
    assert result.objective == 0
    assert sorted(result.counterpart) == list(range(40))


@pytest.mark.parametrize(
    "order", [np.arange(3000), np.random.default_rng(1).permutation(3000)], ids=["same", "permuted"]
)
def test_a_copy_of_a_dictionary_is_matched_to_itself(order):
    a = random(np.random.default_rng(0), 3000, 16).astype(np.float32)
    result = match_rows(a, a[order])
    assert (order[result.counterpart] == np.arange(3000)).all()
    np.testing.assert_allclose(result.cosine, 1.0)


def test_norms_do_not_matter():
    generator = np.random.default_rng(0)
    a, b = random(generator, 50, 8), random(generator, 50, 8)
    scaled = a * generator.uniform(1e-12, 1e12, (50, 1))
    assert (match_rows(a, b).counterpart == match_rows(scaled, b).counterpart).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_torch_tensors_of_each_precision_are_accepted(dtype):
    import torch

    a, b = (torch.randn(60, 8, generator=torch.Generator().manual_seed(s)).to(getattr(torch, dtype)) for s in (0, 1))
    check(a.float().numpy(), b.float().numpy(), match_rows(a, b))


def test_half_precision_numpy_is_accepted():
    a, b = (random(np.random.default_rng(s), 60, 8).astype(np.float16) for s in (0, 1))
    check(a, b, match_rows(a, b))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(value):
    b = np.ones((5, 3))
    b[3, 1] = value
    with pytest.raises(StudyError, match="b: row 3 holds NaN or infinity"):
        match_rows(np.ones((5, 3)), b)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_a_shape_other_than_a_matrix_is_refused(shape):
    with pytest.raises(StudyError, match="a: expected a matrix"):
        match_rows(np.ones(shape), np.ones((3, 3)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((3, 4)) * 1j, "b: holds complex128 values; must be a matrix of real numbers"),
        (np.full((3, 4), "1"), "b: holds <U1 values"),
        (np.full((3, 4), None), "b: holds object values"),
        ([[1.0], [1.0, 2.0]], "b: cannot be read as a matrix of numbers"),
        ({"decoder": np.ones((3, 4))}, "b: holds object values"),
        (torch.ones(3, 4, dtype=torch.complex64), "b: holds complex64 values"),
        (torch.ones(3, 4).to_sparse(), "b: cannot be read as a matrix of numbers"),
    ],
)
def test_values_that_are_no_real_numbers_are_refused(rows, message):
    with pytest.raises(StudyError, match=message):
        match_rows(np.ones((3, 4)), rows)


def test_widths_that_differ_are_refused():
    with pytest.raises(StudyError, match="a has rows of width 3, b of width 4"):
        match_rows(np.ones((2, 3)), np.ones((2, 4)))


def test_a_gap_that_stays_open_is_an_error(monkeypatch):
    solve = assignment.solver.solve
    monkeypatch.setattr(assignment.solver, "solve", lambda edges, state: solve(edges, state) + 1e-3)
    with pytest.raises(StudyError, match="bug in the solver"):
        match_rows(np.eye(4), np.eye(4))


def test_number_of_threads_changes_nothing():
    a, b = (x.astype(np.float32) for x in splitting(np.random.default_rng(3), 3000, 24))
    one, two = match_rows(a, b, threads=1), match_rows(a, b, threads=2)
    assert (one.counterpart == two.counterpart).all()
    assert one.objective == two.objective


def test_the_whole_matrix_is_never_in_memory():
    n = 8000
    a, b = (random(np.random.default_rng(seed), n, 8).astype(np.float32) for seed in (0, 1))
    peak_memory.reset_peak()
    held = peak_memory.peak_bytes()
    assert match_rows(a, b, threads=2).peak_bytes - held < n * n  # a quarter of the float32 matrix


def test_progress_ends_at_one():
    seen = []
    match_rows(np.eye(4), np.eye(4), progress=seen.append)
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_matching_on_the_cpu_imports_no_torch():
    import subprocess
    import sys
    from pathlib import Path

    import sae_stability

    code = (
        "import sys, numpy as np; from sae_stability.match import floors, overlap_tables, overlap, pairs;"
        "from sae_stability.match.assignment import match_rows; match_rows(np.eye(3), np.eye(3));"
        "assert 'torch' not in sys.modules"
    )
    library = str(Path(sae_stability.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": library, "PATH": ""})
