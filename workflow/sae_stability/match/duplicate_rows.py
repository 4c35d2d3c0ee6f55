"""Candidate lists of rows that are exact copies of each other, spread so that copies do not compete for few partners.

Copies rank their partners alike, and ties are broken by index. So g copies would list the same `keep` columns, and the
sparse problem would have no good matching until many pairs are added. Instead, copy number r of a row lists the equally
good partners from number r on. Listed values do not change, so the bound on pairs that are not listed still holds.
"""

from typing import NamedTuple

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.match.candidates import PartnerLists
from sae_stability.match.rows import Dictionary


class Groups(NamedTuple):
    """Rows grouped by equal unit rows.

    Attributes:
        group: `(n,)` group of each row.
        place: `(n,)` position of each row in its group.
        rows_by_group: `(n,)` rows, sorted by group.
        start: `(n_groups + 1,)` where each group starts in `rows_by_group`.
    """

    group: np.ndarray
    place: np.ndarray
    rows_by_group: np.ndarray
    start: np.ndarray

    @property
    def copies(self) -> bool:
        """Whether any row has a copy."""
        return self.start.size - 1 < self.group.size


def spread(best: PartnerLists, rows: Dictionary, row_groups: Groups, partner_groups: Groups) -> None:
    """Spread the lists `best` of `rows` over equally good partners, in place."""
    if row_groups.copies or partner_groups.copies:
        zero = rows.inverse_norm == 0
        group, _, rows_by_group, start = partner_groups
        _spread(best.partner, best.count, row_groups.place, zero, group, rows_by_group, start)


def groups(rows: Dictionary) -> Groups:
    """The groups of equal unit rows."""
    _, group = np.unique(_hashes(rows.unit.view(np.uint32)), return_inverse=True)
    _separate(rows.unit, group, np.full(group.size, -1), group.max() + 1)
    _, group, size = np.unique(group, return_inverse=True, return_counts=True)
    rows_by_group = np.argsort(group, kind="stable")
    start = np.concatenate(([0], np.cumsum(size)))
    place = np.empty_like(rows_by_group)
    place[rows_by_group] = np.arange(rows_by_group.size) - start[group[rows_by_group]]
    return Groups(group, place, rows_by_group, start)


@cached_njit(nogil=True)
def _hashes(bits):
    out = np.empty(bits.shape[0], np.uint64)
    for i in range(bits.shape[0]):
        mixed = np.uint64(0)
        for k in range(bits.shape[1]):
            mixed = (mixed ^ np.uint64(bits[i, k])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        out[i] = mixed
    return out


@cached_njit(nogil=True)
def _equal(x, y):
    different = 0
    for k in range(x.size):
        different += x[k] != y[k]
    return different == 0


@cached_njit(nogil=True)
def _separate(unit, group, first, fresh):
    """Give each row that differs from the first row with its hash a group of its own, numbered from `fresh` on.

    `first` (n,), the first row of each group, must be -1.
    """
    for i in range(group.size):
        g = group[i]
        if first[g] < 0:
            first[g] = i
        elif not _equal(unit[i], unit[first[g]]):
            group[i] = fresh
            fresh += 1


@cached_njit(nogil=True)
def _spread(partner, count, place, zero, group, rows_by_group, start):
    listed = np.zeros(start.size - 1, np.int64)  # partners of each group in the current list so far
    for i in range(count.size):
        for k in range(count[i]):
            if zero[i]:
                partner[i, k] = (place[i] * count[i] + k) % group.size
            else:
                g = group[partner[i, k]]
                partner[i, k] = rows_by_group[start[g] + (place[i] + listed[g]) % (start[g + 1] - start[g])]
                listed[g] += 1
        if not zero[i]:
            for k in range(count[i]):
                listed[group[partner[i, k]]] = 0
