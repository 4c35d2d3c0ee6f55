"""The code for CUDA, run by torch on the CPU, against the code for the CPU."""

import contextlib

import numpy as np
import pytest
import torch

from sae_stability.errors import StudyError
from sae_stability.match import cuda_products
from sae_stability.match.assignment import match_rows
from sae_stability.match.cpu_products import BlasProducts


def dictionaries(n, m, d):
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((size, d), dtype=np.float32) for size in (n, m))
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))


@pytest.mark.parametrize(("n", "m", "keep"), [(500, 700, 16), (700, 500, 3), (5, 700, 5), (1, 1, 1)])
@pytest.mark.parametrize("rows", [64, 2048])
def test_torch_lists_the_same_partners(n, m, keep, rows, monkeypatch):
    monkeypatch.setattr(cuda_products, "ROWS", rows)
    monkeypatch.setattr(cuda_products, "TILE_ENTRIES", rows * 100)
    a, b = dictionaries(n, m, 24)
    numpy_lists = BlasProducts.best_partners(a, b, keep, keep if n > keep else n, threads=1)
    torch_lists = cuda_products.TorchProducts("cpu").best_partners(a, b, keep, keep if n > keep else n, threads=1)
    for ours, theirs in zip(torch_lists, numpy_lists, strict=True):
        k = ours.count[0]
        np.testing.assert_allclose(np.sort(ours.value[:, :k]), np.sort(theirs.value[:, :k]), atol=1e-6)
        assert (np.sort(ours.partner[:, :k]) == np.sort(theirs.partner[:, :k])).mean() > 0.99
        np.testing.assert_allclose(ours.bound, theirs.bound, atol=1e-6)
        assert (ours.count == theirs.count).all()


def test_torch_gives_the_same_matching(monkeypatch):
    a, b = dictionaries(400, 600, 16)
    monkeypatch.setattr(cuda_products, "COLUMNS", 50)
    monkeypatch.setattr("sae_stability.match.assignment.CANDIDATES", 4)  # so few that pairs are priced
    monkeypatch.setattr("sae_stability.match.assignment._backend", lambda device: cuda_products.TorchProducts("cpu"))
    by_torch = match_rows(a, b)
    monkeypatch.undo()
    by_numpy = match_rows(a, b)
    assert (by_torch.counterpart == by_numpy.counterpart).all()
    assert by_torch.objective == pytest.approx(by_numpy.objective, abs=1e-12)


def test_wrong_products_of_a_device_end_in_an_error_and_not_in_an_endless_loop(monkeypatch):
    backend = cuda_products.TorchProducts("cpu")
    tiles = backend.tiles

    def one_column_off(*args):
        for tile, columns, low in tiles(*args):
            yield tile, np.roll(columns, 1), low

    monkeypatch.setattr(backend, "tiles", one_column_off)
    monkeypatch.setattr("sae_stability.match.assignment.CANDIDATES", 4)  # so few that pairs are priced
    monkeypatch.setattr("sae_stability.match.assignment._backend", lambda device: backend)
    with pytest.raises(StudyError, match=r"^matching: the product of row \d+ of a and row \d+ of b is off by more"):
        match_rows(*dictionaries(400, 600, 16))


@pytest.mark.parametrize("fails", [False, True])
def test_a_matching_runs_in_full_precision_and_restores_the_setting(fails, monkeypatch):
    seen = []
    monkeypatch.setattr("sae_stability.match.assignment.CANDIDATES", 4)

    backend = cuda_products.TorchProducts("cpu")
    listed = backend.best_partners

    def best_partners(*args, **kwargs):
        seen.append(torch.get_float32_matmul_precision())
        listed(*args, **kwargs)
        assert backend.copies
        raise StudyError("no partners")

    if fails:
        monkeypatch.setattr(backend, "best_partners", best_partners)
    monkeypatch.setattr("sae_stability.match.assignment._backend", lambda device: backend)
    tiles = backend.tiles
    monkeypatch.setattr(
        backend, "tiles", lambda *args: seen.append(torch.get_float32_matmul_precision()) or tiles(*args)
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.raises(StudyError) if fails else contextlib.nullcontext():
            match_rows(*dictionaries(400, 600, 16))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen) == {"highest"}
    assert not backend.copies


def test_without_a_cuda_device_the_cpu_is_used_with_a_warning(caplog, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = match_rows(np.eye(3), np.eye(3), device="cuda")
    assert result.device == "cpu"
    assert "no CUDA device found: matching on the CPU instead" in caplog.text
