"""Products of two dictionaries on the CPU: float32 by BLAS, or twice as fast in 16-bit integers (`integer_kernel`)."""

import contextlib
from collections.abc import Iterator

import numpy as np
from numba import njit

from sae_stability.match.candidates import COLUMNS, Best, sweep
from sae_stability.match.integer_kernel import KERNELS, Kernel
from sae_stability.match.rows import rounding_margin

BLAS_ROWS = 2048
INTEGER_ROWS = 384  # a multiple of every panel's; 0.6 MB of packed rows at d = 768, which stay in a core's own cache
STEPS = 32_000  # a unit row times this fits int16, and the dot of two such rows fits int32


def cpu():
    """The fastest exact-enough products that this processor has."""
    kernel = next((kernel for kernel in KERNELS if kernel.available()), None)
    return Integer(kernel) if kernel else Blas()


def tiles(a, b, rows, columns, limit, low) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Products of some rows of `a` `(n, d)` with some of `b` `(m, d)`, both float32, a tile after the other.

    Of interest are products with product - limit > low: a backend may leave out columns without any.

    Args:
        rows: of `a`. columns: of `b`. limit: for each of the rows, low: for each of the columns, float32.

    Yields:
        tile (rows, some), float32; its columns (some,); `low` of these.
    """
    del limit
    given = a[rows]
    for start in range(0, columns.size, COLUMNS):
        part = slice(start, start + COLUMNS)
        yield given @ b[columns[part]].T, columns[part], low[part]


class Blas:
    """float32 products by numpy's BLAS."""

    device = "cpu"
    session = staticmethod(contextlib.nullcontext)
    tiles = staticmethod(tiles)

    @staticmethod
    def best_partners(a, b, keep_a: int, keep_b: int, *, threads: int, progress=None) -> tuple[Best, Best]:
        """The `keep_a` best partners in `b` of each row of `a`, and the `keep_b` best in `a` of each row of `b`.

        `a` `(n, d)` and `b` `(m, d)` are unit float32 rows.
        """
        error = rounding_margin(a.shape[1])
        best_a, best_b = Best.of_rows(a, keep_a, error), Best.of_rows(b, keep_b, error)

        def multiply(row, column, tile):
            rows, columns = a[row : row + BLAS_ROWS], b[column : column + COLUMNS]
            np.matmul(rows, columns.T, out=tile[: len(rows), : len(columns)])

        sweep(best_a, best_b, BLAS_ROWS, multiply, threads, progress)
        return best_a, best_b


class Integer:
    """Products of rows rounded to 1/32,000: 16-bit multiplications, exact 32-bit sums.

    They only choose candidates and bound what was not chosen, with `Best.error` allowing for the rounding
    (Cauchy-Schwarz: the rounding residuals of the two rows, about 5e-4 together at d = 768). Cosines that count are
    computed from the rows themselves.
    """

    device = "cpu"
    session = staticmethod(contextlib.nullcontext)
    tiles = staticmethod(tiles)

    def __init__(self, kernel: Kernel):
        self.kernel = kernel

    def best_partners(self, a, b, keep_a: int, keep_b: int, *, threads: int, progress=None) -> tuple[Best, Best]:
        """See `Blas.best_partners`."""
        height, width = self.kernel.panel_rows, self.kernel.panel_columns
        packed_a, residual_a = _packed(a, height)
        packed_b, residual_b = _packed(b, width)
        # The last term: unit rows in float32, and the integer sum's conversion to float32.
        error = residual_a + residual_b + residual_a * residual_b + 16 * 2.0**-24
        best_a, best_b = Best.of_rows(a, keep_a, error), Best.of_rows(b, keep_b, error)

        def multiply(row, column, tile):
            rows = packed_a[row // height : (row + INTEGER_ROWS) // height]
            columns = packed_b[column // width : (column + COLUMNS) // width]
            self.kernel.multiply(rows, columns, tile, np.float32(1 / STEPS**2))

        sweep(best_a, best_b, INTEGER_ROWS, multiply, threads, progress)
        return best_a, best_b


def _packed(unit: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """Rows rounded to int16 in panels `(n / width, d / 2, width)` of pairs, and the longest rounding residual."""
    pairs = (unit.shape[1] + 1) // 2
    packed = np.zeros((-(-len(unit) // width), pairs, width, 2), np.int16)
    residual = _pack(unit, packed, STEPS)
    return packed.view(np.int32)[..., 0], residual


@njit(nogil=True, cache=True)
def _pack(unit, packed, steps):
    width = packed.shape[2]
    longest = 0.0
    for i in range(unit.shape[0]):
        total = 0.0
        for k in range(unit.shape[1]):
            exact = np.float64(unit[i, k])
            rounded = np.rint(exact * steps)
            packed[i // width, k // 2, i % width, k % 2] = np.int16(rounded)
            total += (rounded / steps - exact) ** 2
        longest = max(longest, total)
    return np.sqrt(longest)
