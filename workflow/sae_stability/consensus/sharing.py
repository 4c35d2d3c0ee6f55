"""Which latents of several SAEs are shared with which: the matches of all pairs as one table."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.match.overlap_tables import Pair

NONE = -1
"""In the place of a latent's partner: it has none."""


@dataclass(frozen=True)
class Sharing:
    """Who shares what in a set of SAEs. The latents of all SAEs are numbered one after the other.

    Attributes:
        seeds: names of the SAEs, in order.
        start: (n_seeds + 1,) number of the first latent of each SAE.
        partner: (n_latents of all, n_seeds) number of the latent that each latent is shared with in each SAE, or NONE.
        cosine: (n_latents of all, n_seeds) mean of both matched cosines where there is a partner, else NaN.
    """

    seeds: tuple
    start: np.ndarray
    partner: np.ndarray
    cosine: np.ndarray

    @property
    def place(self) -> np.ndarray:
        """(n_latents of all,) place among `seeds` of each latent's SAE."""
        return np.repeat(np.arange(len(self.seeds)), np.diff(self.start))

    @property
    def latent(self) -> np.ndarray:
        """(n_latents of all,) number of each latent in its own SAE."""
        return np.arange(self.start[-1]) - np.repeat(self.start[:-1], np.diff(self.start))

    def rate(self, a: int, b: int) -> float:
        """Fraction of the latents of the SAE at place `a` that are shared with the one at place `b`."""
        return float((self.partner[self.start[a] : self.start[a + 1], b] >= 0).mean())

    def without(self, left_out: int) -> "Sharing":
        """The same without the SAE at place `left_out`; latents keep their order and are numbered anew."""
        kept = self.place != left_out
        number = np.where(kept, np.cumsum(kept) - 1, NONE)
        partner = np.delete(self.partner[kept], left_out, axis=1)
        sizes = np.delete(np.diff(self.start), left_out)
        return Sharing(
            tuple(np.delete(np.array(self.seeds, object), left_out)),
            np.concatenate([[0], np.cumsum(sizes)]),
            np.where(partner >= 0, number[partner], NONE),
            np.delete(self.cosine[kept], left_out, axis=1),
        )


def sharing(pairs: Iterable[Pair], sizes: dict, threshold: float) -> Sharing:
    """Put the matches of all pairs together.

    Args:
        pairs: the match of every pair, in any order.
        sizes: name of an SAE -> its number of latents.
        threshold: the cosine from which a latent counts as shared.

    Raises:
        StudyError: a pair is missing or given twice.
    """
    seeds = tuple(sizes)
    start = np.concatenate([[0], np.cumsum(list(sizes.values()))]).astype(np.int64)
    partner = np.full((start[-1], len(seeds)), NONE, np.int64)
    cosine = np.full(partner.shape, np.nan)
    missing = {frozenset(pair) for pair in combinations(seeds, 2)}
    for pair in pairs:
        if frozenset((pair.a, pair.b)) not in missing:
            raise StudyError(f"the match of {pair.a} and {pair.b} is given twice, or one of them is not among the SAEs")
        missing.remove(frozenset((pair.a, pair.b)))
        place_a, place_b = seeds.index(pair.a), seeds.index(pair.b)
        shared = np.flatnonzero(pair.passes("shared", threshold, "all"))
        a = start[place_a] + shared
        b = start[place_b] + pair.columns["counterpart_decoder"][shared]
        partner[a, place_b], partner[b, place_a] = b, a
        mean = (pair.columns["cosine_decoder"][shared] + pair.columns["cosine_encoder"][shared]) / 2
        cosine[a, place_b] = cosine[b, place_a] = mean
    if missing:
        a, b = sorted(next(iter(missing)), key=seeds.index)
        raise StudyError(f"the match of {a} and {b} is missing; give the match of every pair of SAEs")
    return Sharing(seeds, start, partner, cosine)
