"""Rows described without an SAE."""

import numpy as np
import pytest

from sae_stability.meta.pursuit import principal, pursuit


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_pursuit_finds_sums_of_orthogonal_directions(rng):
    directions = np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
    rows = (2 * directions[[0, 1]] - 3 * directions[[4, 5]]).astype(np.float32)
    assert np.allclose(pursuit(rows, directions, 2), rows, atol=1e-5)
    assert np.allclose(pursuit(rows, directions, 1), -3 * directions[[4, 5]], atol=1e-5)


def test_pursuit_is_that_of_scikit_learn(rng):
    linear_model = pytest.importorskip("sklearn.linear_model")
    directions = rng.standard_normal((40, 12))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    rows = rng.standard_normal((30, 12)).astype(np.float32)
    weights = linear_model.orthogonal_mp(directions.T.astype(float), rows.T.astype(float), n_nonzero_coefs=4)
    assert np.allclose(pursuit(rows, directions, 4), (directions.T @ weights).T, atol=1e-4)


def test_a_direction_that_is_there_twice_does_no_harm(rng):
    directions = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    rows = rng.standard_normal((5, 4)).astype(np.float32)
    assert np.allclose(pursuit(rows, directions, 6), rows, atol=1e-5)


def test_principal_components_are_the_best_of_their_rank(rng):
    rows = rng.standard_normal((20, 6)).astype(np.float32)
    left = np.linalg.svd(rows, compute_uv=False)[2:]
    assert np.square(rows - principal(rows, 2)).sum() == pytest.approx(np.square(left).sum(), rel=1e-4)
