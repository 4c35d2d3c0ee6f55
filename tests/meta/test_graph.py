"""Graphs of latents that belong together."""

from itertools import combinations

import numpy as np
import pytest

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
