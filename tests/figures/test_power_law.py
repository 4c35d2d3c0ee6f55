"""Power laws through the fractions by number of SAEs."""

import numpy as np
import pytest

from sae_stability.figures import published
from sae_stability.figures.tables.power_law import fits


def test_the_published_values_give_the_fits_known_of_them():
    found = fits(list(published.ONLY_IN_BASE), [mean for mean, _ in published.ONLY_IN_BASE.values()])
    assert found["k_a"] == pytest.approx(0.589, abs=0.001)
    assert found["k_b"] == pytest.approx(0.915, abs=0.002)
    assert found["k_c"] == pytest.approx(0.270, abs=0.001)
    assert found["k_rmse"] == pytest.approx(0.0008, abs=0.0001)
    assert found["k_minus_1_a"] == pytest.approx(0.432, abs=0.001)
    assert found["k_minus_1_b"] == pytest.approx(0.380, abs=0.002)
    assert found["k_minus_1_c"] == pytest.approx(0.152, abs=0.001)
    assert found["k_minus_1_rmse"] == pytest.approx(0.0005, abs=0.0001)


def test_a_planted_law_is_found():
    k = np.arange(2, 8)
    found = fits(k, 0.4 * (k - 1.0) ** -0.7 + 0.25)
    assert [found[f"k_minus_1_{name}"] for name in "abc"] == pytest.approx([0.4, 0.7, 0.25], abs=1e-4)
    assert found["k_rmse"] > found["k_minus_1_rmse"]


def test_too_few_points_are_not_fitted():
    assert np.isnan(list(fits([2, 3, 4, 5, 6], [0.6, 0.5, 0.45, 0.43, np.nan]).values())).all()
