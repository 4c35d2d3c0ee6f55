"""Measures against scikit-learn, and intervals against what they promise."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from sae_stability.interpret.measures import NAMES, best_threshold, measures, wilson


def labels(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 0], [len(positive), len(negative)]), np.concatenate([positive, negative])


@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_scikit_learn(seed: int):
    rng = np.random.default_rng(seed)
    # Few different scores, so that there are ties.
    positive, negative = rng.integers(0, 6, 13) + 1.0, rng.integers(0, 6, 17) + 0.0
    true, scores = labels(positive, negative)
    found = measures(positive, negative, 2.5)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, scores > 2.5))
    assert found["auroc"] == pytest.approx(roc_auc_score(true, scores))
    assert found["f1"] == pytest.approx(f1_score(true, scores > 2.5))


def test_wilson_is_the_textbook_interval():
    assert wilson(8, 10) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6)


@pytest.mark.parametrize(("positive", "negative"), [([1.0] * 5, [0.0] * 5), ([0.0] * 5, [1.0] * 5), ([0.0] * 5,) * 2])
def test_intervals_hold_their_value_and_are_never_empty(positive: list, negative: list):
    found = measures(np.array(positive), np.array(negative), 0.5)
    for name in NAMES:
        low, value, high = (found[f"{name}{part}"] for part in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1
        assert high - low > 0.2


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Normal scores, one standard deviation apart, cut in the middle: AUROC .760, balanced accuracy .691."""
    rng = np.random.default_rng(0)
    truth = {"auroc": 0.76025, "balanced_accuracy": 0.69146, "f1": 0.69146}
    held = dict.fromkeys(truth, 0)
    for _ in range(400):
        found = measures(rng.normal(1, 1, 20), rng.normal(0, 1, 20), 0.5)
        for name, value in truth.items():
            held[name] += found[f"{name}_low"] <= value <= found[f"{name}_high"]
    assert all(0.92 < count / 400 <= 1 for count in held.values()), held


def test_the_best_threshold_tells_apart_what_can_be_told():
    cut = best_threshold(np.array([0.9, 0.8, 0.3]), np.array([0.1, 0.2, 0.25]))
    assert cut == pytest.approx(0.275)
    assert best_threshold(np.array([0.0, 1.0]), np.array([0.0, 0.0])) == 0.5
    # Nothing to tell: everything is predicted not to fire.
    assert measures(np.zeros(3), np.zeros(3), best_threshold(np.zeros(3), np.zeros(3)))["balanced_accuracy"] == 0.5
    # A judge whose scores run backwards gains nothing by the choice of a threshold.
    assert best_threshold(np.array([0.0, 0.1]), np.array([0.9, 1.0])) > 0
