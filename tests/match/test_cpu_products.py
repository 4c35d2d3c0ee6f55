"""Candidate lists against the exact matrix of products, for each way to multiply."""

import numpy as np
import pytest

from sae_stability.match import cpu_products
from sae_stability.match.integer_kernel import KERNELS

AVAILABLE = [kernel for kernel in KERNELS if kernel.available()]
WAYS = {
    "blas": cpu_products.BlasProducts(),
    **{kernel.feature: cpu_products.IntegerProducts(kernel) for kernel in AVAILABLE},
}


def unit_rows(n, d, seed):
    x = np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def check_lists(best, exact, keep):
    """Each row lists `keep` partners; the products that it leaves out are at most its bound, within `error`."""
    assert (best.count == min(keep, exact.shape[1])).all()
    for i, row in enumerate(exact):
        listed = best.partner[i, : best.count[i]]
        assert len(set(listed)) == best.count[i]
        assert np.abs(best.value[i, : best.count[i]] - row[listed]).max() <= best.error
        left_out = np.delete(row, listed)
        if left_out.size:
            assert left_out.max() <= best.bound[i] + best.error
            assert best.bound[i] <= row[listed].min() + best.error


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (7, 300, 3), (900, 400, 17), (390, 2100, 64)])
def test_lists_hold_the_best_partners_of_both_sides(way, n, m, d):
    a, b = unit_rows(n, d, 0), unit_rows(m, d, 1)
    for rows in (a, b):
        rows[5::50] = 0
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    keep = min(9, n, m)
    best_a, best_b = way.best_partners(a, b, keep, keep, threads=2)
    check_lists(best_a, exact, keep)
    check_lists(best_b, exact.T, keep)


@pytest.mark.parametrize("kernel", AVAILABLE, ids=lambda kernel: kernel.feature)
@pytest.mark.parametrize("d", [1, 2, 5, 64, 4096])
def test_the_integer_product_is_exact_on_integers(kernel, d):
    generator = np.random.default_rng(0)
    shape = kernel.panel_rows, kernel.panel_columns
    rows, columns = (generator.integers(-32000, 32001, (n, d)) // max(1, int(d**0.5)) for n in shape)
    packed = [cpu_products._packed(np.float32(x / cpu_products.SCALE), len(x))[0] for x in (rows, columns)]
    tile = np.zeros(shape, np.float32)
    kernel.multiply(*packed, tile, np.float32(1))
    np.testing.assert_array_equal(tile, (rows @ columns.T).astype(np.float32))


def test_one_hot_rows_do_not_overflow():
    eye = np.eye(8, dtype=np.float32)
    best, _ = cpu_products.fastest().best_partners(eye, -eye, 8, 8, threads=1)
    assert best.value[:, :8].min() == pytest.approx(-1, abs=1e-6)
    assert best.error < 1e-5


def test_equal_products_are_listed_by_index():
    ones = np.ones((300, 1), np.float32)
    best, _ = cpu_products.fastest().best_partners(ones, ones, 5, 5, threads=2)
    assert (np.sort(best.partner[:, :5]) == np.arange(5)).all()
