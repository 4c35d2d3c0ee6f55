"""Power laws with an offset through fractions by number of SAEs, in two parametrisations."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

# First value of k at which each form stands at its factor: a * k^-b + c, and a * (k - 1)^-b + c.
FORMS = {"k": 0, "k_minus_1": 1}
PARAMETERS = ("a", "b", "c", "rmse")
# Three parameters fit three points whatever they are, and four nearly so.
FEWEST = 5


def fits(k: Sequence[float], fractions: Sequence[float]) -> dict[str, float]:
    """Least-squares fits of both forms: `FORM_a`, `FORM_b`, `FORM_c` (the limit for many SAEs, in [0, 1]), `FORM_rmse`.

    All are NaN with fewer than `FEWEST` finite points, or where no fit is found.

    Args:
        k: numbers of SAEs, from 2.
        fractions: at each k.
    """
    k, y = np.asarray(k, float), np.asarray(fractions, float)
    k, y = k[np.isfinite(y)], y[np.isfinite(y)]
    return {
        f"{form}_{name}": value
        for form, shift in FORMS.items()
        for name, value in zip(PARAMETERS, _fit(k - shift, y), strict=True)
    }


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    if len(x) < FEWEST:
        return (np.nan,) * 4
    try:
        with warnings.catch_warnings():
            # Said of a perfect or a flat fit, whose errors nobody asks for.
            warnings.simplefilter("ignore", OptimizeWarning)
            found, _ = curve_fit(power_law, x, y, p0=(0.5, 0.5, 0.2), bounds=([0, 0, 0], [np.inf, np.inf, 1]))
    except RuntimeError:
        return (np.nan,) * 4
    return (*found, float(np.sqrt(np.mean((power_law(x, *found) - y) ** 2))))


def power_law(x: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    """a * x^-b + c."""
    return a * x**-b + c
