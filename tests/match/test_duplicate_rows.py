"""Exact copies of a row list different partners among equally good ones."""

import numpy as np

from sae_stability.match import duplicate_rows
from sae_stability.match.cpu_products import fastest
from sae_stability.match.rows import prepare


def listed(a, b, keep):
    a, b = prepare(a, "a"), prepare(b, "b")
    best, _ = fastest().best_partners(a.unit, b.unit, keep, keep, threads=1)
    duplicate_rows.spread(best, a, duplicate_rows.groups(a), duplicate_rows.groups(b))
    return best.partner[:, :keep]


def test_copies_list_different_copies_of_their_best_partner():
    partners = listed(np.ones((12, 3)), np.ones((12, 3)), 2)
    assert np.bincount(partners.ravel()).tolist() == [2] * 12


def test_zero_rows_list_different_partners():
    partners = listed(np.zeros((6, 3)), np.eye(3)[np.arange(12) % 3], 2)
    assert np.bincount(partners.ravel(), minlength=12).tolist() == [1] * 12


def test_partners_without_copies_stay_listed():
    generator = np.random.default_rng(0)
    b = generator.standard_normal((50, 8))
    a = np.repeat(b[:3], 5, axis=0)
    assert (np.sort(listed(a, b, 1).ravel()) == np.repeat([0, 1, 2], 5)).all()


def test_no_partner_is_listed_twice():
    generator = np.random.default_rng(0)
    rows = generator.integers(-1, 2, (200, 3))
    for row in listed(rows, rows[generator.permutation(200)], 16):
        assert len(set(row)) == 16


def test_groups_are_the_sets_of_equal_rows():
    rows = prepare([[1, 0], [0, 1], [2, 0], [0, 0], [0, 3]], "a")
    group, place, *_ = duplicate_rows.groups(rows)
    assert group[0] == group[2]
    assert group[1] == group[4]
    assert len(set(group)) == 3
    assert place[[0, 2]].tolist() == [0, 1]
