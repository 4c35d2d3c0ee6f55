"""Graphs of latents that belong together."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from sae_stability.meta import graph
from sae_stability.meta.graph import agreement


def test_parts_that_are_the_smaller_saes_latents_agree_wholly():
    fires = np.random.default_rng(0).random((30, 8)) < 0.2
    edges, cosine, agreed, chance = agreement(fires, np.where(fires, 0.62, 0.1))
    assert edges == sum((fires[i] & fires[j]).any() for i, j in combinations(range(30), 2))
    assert cosine == pytest.approx(0.62, abs=1e-4)
    assert agreed == 1
    assert chance == edges / (30 * 29 / 2)


def test_unrelated_graphs_agree_as_chance_does():
    rng = np.random.default_rng(1)
    edges, _, agreed, chance = agreement(rng.random((300, 20)) < 0.1, rng.standard_normal((300, 20)) / 4)
    assert edges > 5000
    assert agreed == pytest.approx(chance, abs=0.04)


def test_latents_without_a_part_in_common_have_no_edge():
    edges, *rest = agreement(np.eye(4, dtype=bool), np.eye(4))
    assert edges == 0
    assert np.isnan(rest).all()


def _all_at_once(fires: np.ndarray, cosines: np.ndarray) -> tuple[int, float, float, float]:
    """The same from dense matrices of all pairs; it tries every t."""
    above = np.triu(np.ones((len(fires),) * 2, bool), 1)
    first = (fires.astype(int) @ fires.T > 0) & above
    t = next(t for t in np.arange(1, -1, -graph.STEP / 2**12) if _joined(cosines, t)[above].sum() >= first.sum())
    second = _joined(cosines, t) & above
    return first.sum(), t, (first & second).sum() / first.sum(), second.sum() / above.sum()


def _joined(cosines: np.ndarray, t: float) -> np.ndarray:
    near = (cosines > t).astype(int)
    return near @ near.T > 0


def test_blocks_of_rows_give_what_all_pairs_at_once_give(monkeypatch):
    rng = np.random.default_rng(2)
    fires, cosines = rng.random((60, 12)) < 0.1, rng.standard_normal((60, 9)) / 4
    whole = agreement(fires, cosines)
    edges, t, agreed, chance = _all_at_once(fires, cosines)
    assert (whole[0], *whole[2:]) == (edges, agreed, chance)
    assert whole[1] == pytest.approx(t, abs=1e-9)
    monkeypatch.setattr(graph, "_BLOCK", 7)
    assert agreement(fires, cosines) == whole


def test_memory_holds_a_block_of_pairs_and_not_all(monkeypatch):
    n = 3000
    monkeypatch.setattr(graph, "_BLOCK", 100)
    fires, cosines = np.ones((n, 1), bool), np.ones((n, 1), np.float32)
    tracemalloc.start()
    try:
        assert agreement(fires, cosines) == (n * (n - 1) // 2, pytest.approx(1, abs=1e-4), 1, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Four bytes for each pair: not even the places of all pairs at once.
    assert peak < 4 * n * (n - 1) / 2
