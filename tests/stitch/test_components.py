"""Components of planted dictionaries, and of all pairs by another algorithm."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sae_stability.stitch.components import components
from sae_stability.stitch.interpolation import interpolation
from sae_stability.stitch.prediction import prediction


def unit(n: int, d: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.45, 0.6])
def test_components_are_those_of_the_whole_matrix_of_cosines(threshold: float):
    small, large = unit(1100, 8, 0), unit(2100, 8, 1)  # more than one tile each way
    found = components(small, large, threshold)
    cosines = large.astype(float) @ small.astype(float).T
    cosines /= np.linalg.norm(large.astype(float), axis=1)[:, None] * np.linalg.norm(small.astype(float), axis=1)
    assert np.allclose(found.max_cosine, cosines.max(1), atol=1e-12)
    assert (found.nearest == cosines.argmax(1)).all()
    assert (found.novel == (cosines.max(1) < threshold)).all()
    row, column = np.nonzero(cosines >= threshold)
    n = len(large) + len(small)
    count, labels = connected_components(
        csr_array((np.ones(len(row)), (row, len(large) + column)), shape=(n, n)), False
    )
    ours = np.concatenate([found.of_large, found.of_small])
    assert len(found.n_large_in) == count
    assert len(set(zip(ours.tolist(), labels.tolist(), strict=True))) == count
    assert sum(count * (small + large) for small, large, count in found.census()) == n


def test_a_planted_split_and_a_planted_composition():
    small = np.eye(6, dtype=np.float32)[:4]
    large = np.zeros((5, 6), np.float32)
    large[0, [0, 4]] = 1, 0.5  # latent 0 splits in two
    large[1, [0, 4]] = 1, -0.5
    large[2, [1, 2]] = 1, 1  # latents 1 and 2 are composed
    large[3, 5] = 1  # novel
    large[4, 3] = -1  # the sign counts: novel, and latent 3 has no partner
    found = components(small, large, 0.7)
    assert found.census() == [[0, 1, 2], [1, 0, 1], [1, 2, 1], [2, 1, 1]]
    assert found.novel.tolist() == [False, False, False, True, True]
    assert found.table().values.tolist()[:3] == [[0, "large", 0], [0, "large", 1], [0, "small", 0]]
    assert interpolation(found, "cosine").steps.phase.tolist() == [
        "start",
        *["novel"] * 2,
        *["swap"] * 2,
        "unpartnered",
    ]


def test_limits():
    rows = unit(40, 8, 2)
    same = components(rows, rows, 0.7)
    assert np.allclose(same.max_cosine, 1)
    assert not same.novel.any()
    order = np.random.default_rng(3).permutation(40)
    assert components(rows, rows[order], 0.7).nearest.tolist() == order.tolist()
    assert components(rows, rows, 1.01).novel.all()
    assert components(rows, rows, -1.01).census() == [[40, 40, 1]]


@pytest.mark.parametrize("threshold", [-1.0, 0.7, 0.999, 1.0])
def test_an_exact_duplicate_of_any_length_is_never_novel(threshold: float):
    small = unit(40, 8, 4)
    large = np.concatenate([small, 3 * small, small / 7, unit(30, 8, 5)])
    assert not components(small, large, threshold).novel[:120].any()


def test_prediction_of_ties_and_of_one_kind():
    cosines, lower = np.array([0.1, 0.5, 0.5, 0.9]), np.array([True, True, False, False])
    found = prediction(cosines, lower)
    assert found.auc == pytest.approx(0.875)  # of four pairs three are in order, and one is tied
    assert found.j == pytest.approx(0.5)
    assert found.curve.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert found.curve.false_positive_rate.tolist() == [0, 0, 0.5, 1]
    assert np.isnan(prediction(cosines, lower | True).auc)
