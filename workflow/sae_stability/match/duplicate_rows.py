"""Candidate lists of rows that are exact copies of each other, spread so that copies do not all ask for the same few.

Copies rank their partners alike, and equal partners are listed by index, so g copies would compete for the same
`keep` columns and the sparse problem would have no good matching until many pairs are added. Copy number r
of a row is given a window of the equally good partners that starts at r instead. Listed values do not change, so
neither does the bound on what is not listed.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from sae_stability.match.candidates import Best
from sae_stability.match.rows import Dictionary


class Groups(NamedTuple):
    """Groups of equal unit rows: group of each row, its place in it, rows by group, where each group starts."""

    group: np.ndarray
    place: np.ndarray
    members: np.ndarray
    start: np.ndarray

    @property
    def copies(self) -> bool:
        """Whether any row has a copy."""
        return self.start.size - 1 < self.group.size


def spread(best: Best, own: Dictionary, groups_own: Groups, groups_others: Groups) -> None:
    """Spread the lists `best` of the rows of `own` over equally good rows of the others, in place."""
    if groups_own.copies or groups_others.copies:
        zero = own.inverse_norm == 0
        group, _, members, start = groups_others
        _spread(best.partner, best.count, groups_own.place, zero, group, members, start)


def groups(rows: Dictionary) -> Groups:
    """The groups of equal unit rows."""
    _, group = np.unique(_hashes(rows.unit.view(np.uint32)), return_inverse=True)
    _separate(rows.unit, group, np.full(group.size, -1), group.max() + 1)
    _, group, size = np.unique(group, return_inverse=True, return_counts=True)
    members = np.argsort(group, kind="stable")
    start = np.concatenate(([0], np.cumsum(size)))
    place = np.empty_like(members)
    place[members] = np.arange(members.size) - start[group[members]]
    return Groups(group, place, members, start)


@njit(nogil=True, cache=True)
def _hashes(bits):
    out = np.empty(bits.shape[0], np.uint64)
    for i in range(bits.shape[0]):
        mixed = np.uint64(0)
        for k in range(bits.shape[1]):
            mixed = (mixed ^ np.uint64(bits[i, k])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        out[i] = mixed
    return out


@njit(nogil=True, cache=True)
def _equal(x, y):
    different = 0
    for k in range(x.size):
        different += x[k] != y[k]
    return different == 0


@njit(nogil=True, cache=True)
def _separate(unit, group, first, fresh):
    """Give a row whose hash meets another row's by chance a group of its own, from `fresh` on; `first` (n,) is -1."""
    for i in range(group.size):
        g = group[i]
        if first[g] < 0:
            first[g] = i
        elif not _equal(unit[i], unit[first[g]]):
            group[i] = fresh
            fresh += 1


@njit(nogil=True, cache=True)
def _spread(partner, count, place, zero, group, members, start):
    met = np.zeros(start.size - 1, np.int64)  # partners of each group met so far in the current list
    for i in range(count.size):
        for k in range(count[i]):
            if zero[i]:
                partner[i, k] = (place[i] * count[i] + k) % group.size
            else:
                g = group[partner[i, k]]
                partner[i, k] = members[start[g] + (place[i] + met[g]) % (start[g + 1] - start[g])]
                met[g] += 1
        if not zero[i]:
            for k in range(count[i]):
                met[group[partner[i, k]]] = 0
