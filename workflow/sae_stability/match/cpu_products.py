"""Products of two dictionaries on the CPU: float32 by BLAS, or twice as fast in 16-bit integers (`integer_kernel`)."""

import contextlib
from collections.abc import Iterator

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.match.candidates import COLUMNS, PartnerLists, sweep
from sae_stability.match.integer_kernel import KERNELS, Kernel
from sae_stability.match.rows import rounding_margin

BLAS_ROWS = 2048
INTEGER_ROWS = 384  # a multiple of every kernel's `panel_rows`; 0.6 MB packed at d = 768, which fit a core's own cache
SCALE = 32_000  # entries of unit rows times this fit int16, and dot products of such rows fit int32


def fastest():
    """The fastest way to compute products on this processor."""
    kernel = next((kernel for kernel in KERNELS if kernel.available()), None)
    return IntegerProducts(kernel) if kernel else BlasProducts()


def tiles(a, b, rows, columns, limit, low) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Products of chosen rows of `a` with chosen rows of `b`, tile by tile.

    The caller needs only products with product - limit > low, so a backend may leave out columns that have none.

    Args:
        a, b: `(n, d)` and `(m, d)` float32, unit rows.
        rows: indices of rows of `a`.
        columns: indices of rows of `b`.
        limit: float32, one for each of `rows`.
        low: float32, one for each of `columns`.

    Yields:
        A tile `(rows, columns of the tile)` float32, the indices of its columns, and their values of `low`.
    """
    del limit  # leaving out columns would cost more than it saves here
    chosen = a[rows]
    for start in range(0, columns.size, COLUMNS):
        part = slice(start, start + COLUMNS)
        yield chosen @ b[columns[part]].T, columns[part], low[part]


class BlasProducts:
    """float32 products by numpy's BLAS."""

    device = "cpu"
    session = staticmethod(contextlib.nullcontext)
    tiles = staticmethod(tiles)

    @staticmethod
    def best_partners(
        a, b, keep_a: int, keep_b: int, *, threads: int, progress=None
    ) -> tuple[PartnerLists, PartnerLists]:
        """The `keep_a` best partners in `b` of each row of `a`, and the `keep_b` best in `a` of each row of `b`.

        `a` `(n, d)` and `b` `(m, d)` are unit float32 rows.
        """
        error = rounding_margin(a.shape[1])
        best_a, best_b = PartnerLists.of_rows(a, keep_a, error), PartnerLists.of_rows(b, keep_b, error)

        def multiply(row, column, tile):
            rows, columns = a[row : row + BLAS_ROWS], b[column : column + COLUMNS]
            np.matmul(rows, columns.T, out=tile[: len(rows), : len(columns)])

        sweep(best_a, best_b, BLAS_ROWS, multiply, threads, progress)
        return best_a, best_b


class IntegerProducts:
    """Products of rows rounded to multiples of 1/32,000: 16-bit multiplications, exact 32-bit sums.

    They only choose candidates and bound the other pairs. `PartnerLists.error` allows for the rounding: by
    Cauchy-Schwarz, a product is off by at most the norms of the two rows' rounding residuals (together about 5e-4 at
    d = 768) and their product. Cosines in results are computed from the rows themselves.
    """

    device = "cpu"
    session = staticmethod(contextlib.nullcontext)
    tiles = staticmethod(tiles)

    def __init__(self, kernel: Kernel):
        self.kernel = kernel

    def best_partners(
        self, a, b, keep_a: int, keep_b: int, *, threads: int, progress=None
    ) -> tuple[PartnerLists, PartnerLists]:
        """See `BlasProducts.best_partners`."""
        height, width = self.kernel.panel_rows, self.kernel.panel_columns
        packed_a, residual_a = _packed(a, height)
        packed_b, residual_b = _packed(b, width)
        # The last term is for unit rows stored as float32 and for the conversion of the integer sum to float32.
        error = residual_a + residual_b + residual_a * residual_b + 16 * 2.0**-24
        best_a, best_b = PartnerLists.of_rows(a, keep_a, error), PartnerLists.of_rows(b, keep_b, error)

        def multiply(row, column, tile):
            rows = packed_a[row // height : (row + INTEGER_ROWS) // height]
            columns = packed_b[column // width : (column + COLUMNS) // width]
            self.kernel.multiply(rows, columns, tile, np.float32(1 / SCALE**2))

        sweep(best_a, best_b, INTEGER_ROWS, multiply, threads, progress)
        return best_a, best_b


def _packed(unit: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """Rows as int16 pairs, in int32 panels `(n / width, d / 2, width)`, and the largest norm of a rounding residual."""
    pairs = (unit.shape[1] + 1) // 2
    packed = np.zeros((-(-len(unit) // width), pairs, width, 2), np.int16)
    residual = _pack(unit, packed, SCALE)
    return packed.view(np.int32)[..., 0], residual


@cached_njit(nogil=True)
def _pack(unit, packed, scale):
    width = packed.shape[2]
    largest = 0.0
    for i in range(unit.shape[0]):
        total = 0.0
        for k in range(unit.shape[1]):
            exact = np.float64(unit[i, k])
            rounded = np.rint(exact * scale)
            packed[i // width, k // 2, i % width, k % 2] = np.int16(rounded)
            total += (rounded / scale - exact) ** 2
        largest = max(largest, total)
    return np.sqrt(largest)
