"""The check of all pairs against the duals."""

import numpy as np
import pytest

from sae_stability.match import cpu_products, cuda_products, pricing
from sae_stability.match.rows import prepare


@pytest.mark.parametrize(
    "tiles", [cpu_products.tiles, cuda_products.TorchProducts("cpu").tiles], ids=["numpy", "torch"]
)
def test_small_violations_of_large_prices_are_found(tiles, monkeypatch):
    """The float32 spacing of prices in the thousands is far larger than the violations."""
    monkeypatch.setattr(cuda_products, "COLUMNS", 64)
    monkeypatch.setattr(cpu_products, "COLUMNS", 64)
    generator = np.random.default_rng(0)
    a, b = (prepare(generator.standard_normal((n, 24)), "rows") for n in (300, 500))
    exact = a.unit.astype(np.float64) @ b.unit.T.astype(np.float64)
    v = 5000 + generator.random(500)
    u = (exact - v).max(axis=1) - 1e-6
    limits, checked_at = (np.ones(300), np.ones(500)), np.full(300, np.inf)
    found = pricing.violations(a, b, *limits, u, v, checked_at, tiles=tiles, threads=2)
    rows, columns = np.nonzero(exact - u[:, None] - v > 1e-7)
    assert set(rows) == set(range(300))
    assert {*zip(rows, columns, strict=True)} <= {*zip(found.rows, found.columns, strict=True)}
