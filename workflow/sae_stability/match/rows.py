"""A dictionary, checked and normalised: float32 rows of unit length."""

from dataclasses import dataclass

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.errors import StudyError

_NOT_REAL = "cOSUmM"  # kinds of numpy types: complex, objects, bytes, text, times


@dataclass(frozen=True)
class Dictionary:
    """One dictionary, ready to compare.

    Attributes:
        rows: `(n, d)` float32, the rows as given; exact cosines are computed from these.
        unit: `(n, d)` float32, the rows divided by their norm; a zero row stays zero.
        inverse_norm: `(n,)` float64, 1 / norm; 0 for a zero row, so its cosine with everything is 0.
    """

    rows: np.ndarray
    unit: np.ndarray
    inverse_norm: np.ndarray


def prepare(x, name: str) -> Dictionary:
    """Check and normalise `x` of shape `(n, d)`: numpy or torch; float16, bfloat16, float32 or float64.

    Raises:
        StudyError: not real numbers, not two-dimensional, empty, or a row with NaN or infinity (the first one is
            named).
    """
    rows = _float32(x, name)
    if rows.ndim != 2 or 0 in rows.shape:
        raise StudyError(f"{name}: expected a matrix (rows, d_model) with at least one of each, got shape {rows.shape}")
    norm = _norms(rows)
    bad = np.flatnonzero(~np.isfinite(norm))
    if bad.size:
        raise StudyError(
            f"{name}: row {bad[0]} holds NaN or infinity ({bad.size} such rows in all); "
            "the dictionary is damaged, train or export it again"
        )
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return Dictionary(rows, _scaled(rows, inverse), inverse)


def _float32(x, name: str) -> np.ndarray:
    """`x` as a C-contiguous float32 array; torch tensors are recognised without importing torch."""
    try:
        if hasattr(x, "detach"):
            x = x.detach().cpu()
            x = (x if x.is_complex() else x.float()).numpy()
        x = np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise StudyError(f"{name}: cannot be read as a matrix of numbers ({error})") from None
    if x.dtype.kind in _NOT_REAL:
        raise StudyError(f"{name}: holds {x.dtype} values; must be a matrix of real numbers")
    return np.ascontiguousarray(x, dtype=np.float32)


@cached_njit(nogil=True)
def _norms(x):
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        total = 0.0
        for k in range(x.shape[1]):
            value = np.float64(x[i, k])
            total += value * value
        out[i] = np.sqrt(total)
    return out


@cached_njit(nogil=True)
def _scaled(x, factor):
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[i, k] = np.float64(x[i, k]) * factor[i]
    return out


def rounding_margin(d_model: int) -> float:
    """Largest possible difference between a float32 product of two unit rows and their exact cosine.

    A float32 dot product of length d, summed in any order, errs by at most gamma_d |x|.|y| with
    gamma_d = d u / (1 - d u) and u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 3.1); rounding the normalised rows themselves to float32 adds 2 u.
    """
    unit_roundoff = 2.0**-24
    d_u = (d_model + 4) * unit_roundoff
    return d_u / (1 - d_u)


@cached_njit(nogil=True, fastmath={"reassoc", "contract"})
def cosine(a, b, inverse_a, inverse_b, i, j):
    """Cosine of `a[i]` with `b[j]`, products and sum in float64; 0 where either row is zero."""
    factor = inverse_a[i] * inverse_b[j]
    if factor == 0.0:
        return 0.0
    total = 0.0
    for k in range(a.shape[1]):
        total += np.float64(a[i, k]) * np.float64(b[j, k])
    return min(1.0, max(-1.0, total * factor))
