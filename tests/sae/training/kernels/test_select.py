"""Selection of the k largest against a full sort: ties, few positives, odd sizes, large k."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_stability.sae.training.kernels import cpu_topk


def select(pre: np.ndarray, bias: np.ndarray, k: int) -> list[list[tuple[int, float]]]:
    rows = len(pre)
    starts, counts = np.arange(rows) * k, np.zeros(rows, np.int64)
    index, value = np.full(rows * k, -1, np.int32), np.zeros(rows * k, np.float32)
    scores = pre.copy()
    cpu_topk.select(scores, scores.view(np.int32), bias, k, starts, counts, index, value)
    return [[(int(index[s + i]), float(value[s + i])) for i in range(c)] for s, c in zip(starts, counts, strict=True)]


def expected(pre: np.ndarray, bias: np.ndarray, k: int) -> list[list[tuple[int, float]]]:
    scores = pre + bias
    best = [sorted((-v, i) for i, v in enumerate(row.tolist()) if v > 0)[:k] for row in scores]
    return [sorted((i, -v) for v, i in row) for row in best]


@settings(max_examples=300, deadline=None)
@given(
    n_latents=st.integers(1, 400),
    k=st.integers(1, 60),
    kind=st.sampled_from(["normal", "few values", "mostly negative", "heavy tail", "all equal", "zero"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_selection_equals_a_full_sort_with_the_lower_index_first(n_latents, k, kind, seed) -> None:
    random = np.random.default_rng(seed)
    pre = random.normal(size=(3, n_latents)).astype(np.float32)
    pre = {
        "normal": pre,
        "few values": np.round(pre),
        "mostly negative": pre - 2,
        "heavy tail": np.exp(8 * pre),
        "all equal": np.ones_like(pre),
        "zero": np.zeros_like(pre),
    }[kind]
    bias = random.normal(size=n_latents).astype(np.float32) * (kind == "normal")
    k = min(k, n_latents)
    assert select(pre, bias, k) == expected(pre, bias, k)


@pytest.mark.parametrize("kind", ["normal", "rounded"])
def test_selection_of_many_among_many_equals_a_full_sort(kind) -> None:
    pre = np.random.default_rng(0).normal(size=(4, 5003)).astype(np.float32)
    pre = pre if kind == "normal" else np.round(pre, 1)
    bias = np.zeros(5003, np.float32)
    for k in (1, 32, 200, 2000):
        assert select(pre, bias, k) == expected(pre, bias, k)
