"""Confidence intervals and subspace overlap, on numbers that can be checked by hand."""

import numpy as np
import pandas as pd
import pytest

from sae_stability.match import intervals, subspace


def test_all_resamples_of_three_seeds_are_listed():
    counts, chance = intervals.resamples(3)
    assert counts.shape == (10, 3)
    assert (counts.sum(axis=1) == 3).all()
    assert chance.sum() == pytest.approx(1)
    assert chance[(counts == 1).all(axis=1)] == pytest.approx(6 / 27)


def test_many_seeds_are_drawn_the_same_way_every_time():
    (first, _), (second, _) = intervals.resamples(12), intervals.resamples(12)
    assert (first == second).all()
    assert first.mean() == pytest.approx(1)


def pairs(values):
    table = pd.DataFrame([(a, b, x) for (a, b), x in values.items()], columns=["a", "b", "shared"])
    return table.assign(source="trained", latents="all")


def test_three_seeds_give_the_extremes_of_their_pairs():
    row = intervals.table(pairs({(0, 1): 0.1, (0, 2): 0.2, (1, 2): 0.6})).iloc[0]
    # Of the 24 draws that contain a pair, 6 contain seeds 0 and 1 only, and 6 contain 1 and 2 only: more than a tail.
    assert (row["low"], row["high"]) == (0.1, 0.6)
    assert row["mean"] == pytest.approx(0.3)
    assert row["n_units"] == 3


def test_two_seeds_give_no_interval():
    row = intervals.table(pairs({(0, 1): 0.1})).iloc[0]
    assert np.isnan(row["low"])
    assert np.isnan(row["high"])
    assert row["mean"] == 0.1


def test_equal_subspaces_overlap_fully_and_orthogonal_ones_not_at_all():
    identity = np.eye(6)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    assert subspace.overlap(identity[:, :2] @ turned, identity, 2) == pytest.approx(1)
    assert subspace.overlap(identity[:, 2:4], identity, 2) == pytest.approx(0)


def test_a_subspace_planted_in_the_unshared_latents_is_detected():
    generator = np.random.default_rng(0)

    def side():
        low = generator.standard_normal((100, 4)) @ np.diag([8, 4, 1, 1]) @ np.eye(40)[:4]
        rows = np.concatenate((low, generator.standard_normal((4000, 40))))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True), np.arange(4100), np.arange(100)

    rank, found, chance, spread = subspace.compare(side(), side(), generator)
    assert rank <= 3
    assert found > 0.9
    assert found > chance + 2 * spread


def test_without_unshared_latents_the_overlap_is_nan():
    rows, none = np.eye(4), np.empty(0, int)
    assert np.isnan(subspace.compare((rows, none, none), (rows, none, none), np.random.default_rng(0))).all()
