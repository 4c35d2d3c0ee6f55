"""Which latents are explained, which windows explain them, and which others score them.

Latents are sampled from the first SAE of a cohort; of every other SAE their counterparts are taken. The members of such
a group are scored on the same negatives.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from sae_stability.interpret.windows import EXPLAIN, RANDOM, SCORE, Contexts, Pool, Window
from sae_stability.random_streams import stream

NEAR = "near"
LEAST = 5
"""A latent with fewer windows than this, to be explained or to be scored on, is too rare."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """Latents of the first SAE and their counterparts.

    Attributes:
        first: the seed of the first SAE.
        latents: seed -> latents, `(groups,)`; -1 where there is no counterpart.
    """

    first: int
    latents: dict[int, np.ndarray]

    def __len__(self) -> int:
        return len(self.latents[self.first])

    def of(self, seed: int) -> list[tuple[int, int]]:
        """(number of the group, latent) for each latent of an SAE."""
        return [(group, int(latent)) for group, latent in enumerate(self.latents[seed]) if latent >= 0]

    def name(self, group: int) -> int:
        """The latent of the first SAE, which names a group."""
        return int(self.latents[self.first][group])

    def members(self, group: int) -> list[tuple[int, int]]:
        """(seed, latent) of each member of a group."""
        return [(seed, int(latents[group])) for seed, latents in self.latents.items() if latents[group] >= 0]


def sample_groups(live: np.ndarray, counterparts: dict[int, np.ndarray], first: int, count: int, seed: int) -> Groups:
    """Draw `count` latents of the first SAE among those that fire, and look up their counterparts.

    Args:
        live: the latents of the first SAE that fire, ascending.
        counterparts: seed of every other SAE -> counterpart of each latent of the first, `(n_latents,)`, -1 for none.
        first: the seed of the first SAE.
        count: how many to draw; all, if there are no more.
        seed: of the draw. A larger count keeps the latents of a smaller one.
    """
    order = np.random.default_rng(stream("interpreted latents", seed)).permutation(len(live))
    latents = np.sort(live[order[:count]])
    return Groups(first, {first: latents, **{other: rows[latents] for other, rows in counterparts.items()}})


@dataclasses.dataclass(frozen=True)
class Shown:
    """The windows that explain a latent: where it fires, and where it does not."""

    positives: tuple[Window, ...]
    negatives: tuple[Window, ...]

    @property
    def enough(self) -> bool:
        """Whether they can explain anything."""
        return min(len(self.positives), len(self.negatives)) >= LEAST


def shown(contexts: Contexts, latent: int, count: int, seed: int) -> Shown:
    """The windows that explain a latent: `count` of each kind, the positives spread over the strata."""
    rng = np.random.default_rng(stream("shown windows", seed, latent))
    positives = spread(contexts.positives(latent, EXPLAIN), count, rng)
    return Shown(tuple(positives), tuple(_some(contexts.negatives(latent, EXPLAIN), count, rng)))


@dataclasses.dataclass(frozen=True)
class Draw:
    """The windows of one draw: positives, and negatives by stratum."""

    positives: tuple[Window, ...]
    negatives: dict[str, tuple[Window, ...]]

    @property
    def windows(self) -> tuple[Window, ...]:
        """All windows: positives, then the negatives of each stratum."""
        return (*self.positives, *(window for some in self.negatives.values() for window in some))

    @property
    def enough(self) -> bool:
        """Whether they can score anything."""
        return min(len(self.positives), len(self.negatives[RANDOM])) >= LEAST


class Draws:
    """The windows that latents are scored on.

    No window is of a block that explained the latent. All members of a group have the same random negatives: windows
    in which no member fires.

    Args:
        contexts: seed -> the contexts of that SAE: the positives.
        pools: seed -> the pool with the latents of that SAE: the negatives.
        near: seed -> for each sampled latent the others by decoder cosine, nearest first, `(groups, neighbours)`.
        groups: the latents.
        count: windows of each kind.
        seed: of the draws.
    """

    def __init__(
        self,
        contexts: dict[int, Contexts],
        pools: dict[int, Pool],
        near: dict[int, np.ndarray],
        groups: Groups,
        count: int,
        seed: int,
    ) -> None:
        self._contexts, self._pools, self._near = contexts, pools, near
        self._groups, self._count, self._seed = groups, count, seed
        self._places = sorted(set.intersection(*(set(pool.windows) for pool in pools.values())))
        # Every draw asks for these again.
        self._silent = functools.cache(self._found_silent)
        self._near_places = functools.cache(self._found_near)

    def draw(self, seed: int, group: int, number: int) -> Draw:
        """The windows of draw `number` for the group's latent in one SAE."""
        latent = int(self._groups.latents[seed][group])
        own = np.random.default_rng(stream("positives", self._seed, seed, latent, number))
        common = np.random.default_rng(stream("negatives", self._seed, self._groups.name(group), number))
        silent, windows = self._silent(group), self._pools[seed].windows
        random = _some(list(silent), self._count, common)
        near = self._near_places(seed, group)
        return Draw(
            tuple(spread(self._contexts[seed].positives(latent, SCORE), self._count, own)),
            {
                RANDOM: tuple(windows[place] for place in random),
                # Of those near, the nearest few are drawn from.
                NEAR: tuple(windows[place] for place in _some(near[: 3 * self._count], self._count, own)),
            },
        )

    def _found_silent(self, group: int) -> dict[tuple[int, int], None]:
        """Where the windows are in which no member of a group fires, outside the blocks that explained one, sorted."""
        members = self._groups.members(group)
        fired = set().union(*(self._pools[seed].fires(latent) for seed, latent in members))
        blocks = set().union(*(self._contexts[seed].blocks(latent, EXPLAIN) for seed, latent in members))
        return dict.fromkeys(place for place in self._places if place not in fired and place[0] not in blocks)

    def _found_near(self, seed: int, group: int) -> list[tuple[int, int]]:
        """Where the nearest latent fires, then the second nearest, and so on, among the places of `_silent`."""
        fires, silent = self._pools[seed].fires, self._silent(group)
        places = (place for other in self._near[seed][group] for place in sorted(fires(int(other))))
        return list(dict.fromkeys(place for place in places if place in silent))


def nearest(decoder: np.ndarray, latents: np.ndarray, count: int) -> np.ndarray:
    """For each of `latents` the others with the most similar decoder rows, nearest first, `(len(latents), count)`.

    Args:
        decoder: decoder rows, `(n_latents, d_model)`.
        latents: `(groups,)`; the row of a -1 means nothing.
        count: how many others.
    """
    rows = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-12)
    cosine = rows[latents] @ rows.T
    cosine[np.arange(len(latents)), latents] = -np.inf
    return np.argsort(-cosine, axis=1, kind="stable")[:, : min(count, len(decoder) - 1)]


def spread(windows: Sequence[Window], count: int, rng: np.random.Generator) -> list[Window]:
    """`count` windows, as many from each stratum as from the others as far as they last; all if there are no more."""
    strata: dict[str, list[Window]] = {}
    for place in rng.permutation(len(windows)):
        strata.setdefault(windows[place].stratum, []).append(windows[place])
    columns = [strata[name] for name in sorted(strata)]
    longest = max(map(len, columns), default=0)
    turns = [column[turn] for turn in range(longest) for column in columns if turn < len(column)]
    # One block may be sampled twice, as a top window and as one of its decile.
    return list({window.place: window for window in turns}.values())[:count]


def _some(items: Sequence, count: int, rng: np.random.Generator) -> list:
    return [items[place] for place in rng.permutation(len(items))[:count]]


def others(latents: Sequence[int], seed: int) -> dict[int, int]:
    """For each latent another one, whose explanation it gets where chance is measured; each is chosen once.

    Empty for fewer than two latents.
    """
    if len(latents) < 2:
        return {}
    order = np.random.default_rng(stream("shuffled explanations", seed)).permutation(len(latents)).tolist()
    return {latents[place]: latents[next_one] for place, next_one in zip(order, order[1:] + order[:1], strict=True)}
