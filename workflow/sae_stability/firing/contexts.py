"""Contexts of latents: windows of text in which a latent fires, and windows in which it does not."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from sae_stability.firing.firings import Firings
from sae_stability.firing.windows import Windows
from sae_stability.random_streams import stream
from sae_stability.ranges import Count, Index

SPLITS = ("explain", "score")
TOP, RANDOM = "top", "random"
_DECILES = 10
_LATENTS = 4096  # latents whose contexts are put together at once


@dataclasses.dataclass(frozen=True)
class ContextSettings:
    """Which contexts a latent gets. Counts are for each of the two splits."""

    window: Count = 32
    """Tokens a context"""

    top: Count = 10
    """Contexts with the strongest activations, in each split"""

    decile: Index = 1
    """Contexts from each tenth of the windows in which the latent fires, ordered by activation, in each split"""

    random: Index = 10
    """Contexts in which the latent does not fire, in each split"""

    pool: Count = 2000
    """Windows of the pool, in which it is known of every latent whether it fires"""

    seed: Index = dataclasses.field(default=0, metadata={"flag": "contexts-seed"})
    """Seed of what is drawn at random"""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The contexts of one latent, one entry each: its window, stratum and split, and the strongest activation in it."""

    windows: np.ndarray
    strata: list[str]
    splits: list[str]
    activations: np.ndarray
    rare: bool


def context_table(firings: Firings, windows: Windows, settings: ContextSettings, latents: np.ndarray) -> pa.Table:
    """One row a context, by latent, then split, then stratum; latents that never fire have none.

    Columns: `latent`; `stratum`: `top`, `decile-1` (weakest) to `decile-10`, `random` (does not fire); `split`:
    `explain` or `score`; `rare`: the latent has fewer than `top` windows to fill a split with; `activation`: the
    strongest in the window, 0 in `random` ones; `block`; `position`: place of the first token in the block; and lists
    over the window's tokens: `tokens`, `pieces` of text, `activations` (0 also where the SAE sees no row).
    """
    parts = [_rows(firings, windows, settings, part) for part in np.array_split(latents, -(-len(latents) // _LATENTS))]
    return pa.concat_tables(parts)


def choose(firings: Firings, windows: Windows, settings: ContextSettings, latent: int) -> Chosen:
    """The contexts of a latent that fires.

    Windows are weighed by their strongest activation. A block, with all its windows, belongs to one split. Blocks in
    which the latent fires are dealt to the splits two by two, in the order of their strongest activation, so that both
    get strong and weak ones; with an odd number, the weakest goes to `explain`.
    """
    rng = np.random.default_rng(stream("contexts", settings.seed, latent))
    found, peaks = _peaks(firings, windows, latent)
    order = np.argsort(peaks, kind="stable")
    decile = np.empty(len(order), np.int64)
    decile[order] = np.arange(len(order)) * _DECILES // len(order)
    blocks, scored = _deal(windows.block(found[order[::-1]]), rng)
    in_score = scored[np.searchsorted(blocks, windows.block(found))]
    silent, silent_scored = _silent(windows, found, blocks, scored, settings.random, rng)
    chosen: list[tuple[np.ndarray, str, str]] = []
    for split, name in enumerate(SPLITS):
        mine = order[in_score[order] == split]
        strongest = mine[::-1][: settings.top]
        rest = mine[: len(mine) - len(strongest)]
        chosen.append((strongest, TOP, name))
        for number in range(_DECILES):
            members = rest[decile[rest] == number]
            drawn = rng.permutation(members)[: settings.decile]
            chosen.append((drawn, f"decile-{number + 1}", name))
    picks = [(found[part], peaks[part], stratum, split) for part, stratum, split in chosen]
    for split, name in enumerate(SPLITS):
        part = silent[silent_scored == split][: settings.random]
        picks.append((part, np.zeros(len(part), np.float32), RANDOM, name))
    picks.sort(key=lambda pick: SPLITS.index(pick[3]))
    fewest = min(np.count_nonzero(in_score == split) for split in range(len(SPLITS)))
    return Chosen(
        np.concatenate([pick[0] for pick in picks]),
        [pick[2] for pick in picks for _ in pick[0]],
        [pick[3] for pick in picks for _ in pick[0]],
        np.concatenate([pick[1] for pick in picks]),
        bool(fewest < settings.top),
    )


def _peaks(firings: Firings, windows: Windows, latent: int) -> tuple[np.ndarray, np.ndarray]:
    """The windows in which a latent fires, ascending, and the strongest activation in each."""
    rows, values = firings[latent]
    window = windows.of_row[rows]
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    return window[starts], np.maximum.reduceat(values, starts)


def _deal(blocks: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Deal blocks to the splits: (blocks ascending, 1 for each that goes to `score`).

    Args:
        blocks: blocks in the order in which they are dealt; one may occur several times, the first counts.
        rng: decides which of two goes where.
    """
    ascending, first = np.unique(blocks, return_index=True)
    order = np.argsort(first)
    scored = np.zeros(len(ascending), np.int64)
    pairs = len(order) // 2
    place = 2 * np.arange(pairs) + rng.integers(0, 2, pairs)
    scored[order[place]] = 1
    return ascending, scored


def _silent(
    windows: Windows, found: np.ndarray, blocks: np.ndarray, scored: np.ndarray, wanted: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Windows in which the latent does not fire, in random order, and 1 for each that belongs to `score`.

    Enough are drawn that each split should get those that are wanted, if there are so many.
    """
    free = np.ones(len(windows.seen), bool)
    free[np.searchsorted(windows.seen, found)] = False
    free = windows.seen[free]
    drawn = rng.choice(free, min(len(free), 8 * wanted), replace=False)
    block, index = np.unique(windows.block(drawn), return_inverse=True)
    split = rng.integers(0, 2, len(block))
    place = np.minimum(np.searchsorted(blocks, block), len(blocks) - 1)
    dealt = blocks[place] == block
    split[dealt] = scored[place[dealt]]
    return drawn, split[index]


def _rows(firings: Firings, windows: Windows, settings: ContextSettings, latents: np.ndarray) -> pa.Table:
    """The rows of some latents."""
    fires = [latent for latent in latents.tolist() if firings.counts[latent]]
    chosen = [choose(firings, windows, settings, latent) for latent in fires]
    sizes = [len(one.windows) for one in chosen]
    window = np.concatenate([np.empty(0, np.int64), *(one.windows for one in chosen)]).astype(np.int64)
    places = windows.token_places(window)
    offsets = np.concatenate([[0], np.cumsum(windows.lengths(window))]).astype(np.int32)
    values = list(_values(firings, windows, zip(fires, chosen, strict=True)))
    lists = {
        "tokens": pa.array(windows.tokens(places), pa.int32()),
        "pieces": windows.pieces(places),
        "activations": pa.array(np.concatenate([np.empty(0, np.float32), *values]), pa.float32()),
    }
    plain = {
        "latent": pa.array(np.repeat(np.array(fires, np.int64), sizes), pa.int64()),
        "stratum": pa.array([name for one in chosen for name in one.strata], pa.string()),
        "split": pa.array([name for one in chosen for name in one.splits], pa.string()),
        "rare": pa.array(np.repeat(np.array([one.rare for one in chosen], bool), sizes), pa.bool_()),
        "activation": pa.array(
            np.concatenate([np.empty(0, np.float32), *(one.activations for one in chosen)]), pa.float32()
        ),
        "block": pa.array(windows.block(window), pa.int64()),
        "position": pa.array(windows.position(window), pa.int64()),
    }
    return pa.table(plain | {name: pa.ListArray.from_arrays(offsets, column) for name, column in lists.items()})


def _values(firings: Firings, windows: Windows, chosen) -> Iterator[np.ndarray]:
    """Yield, for each latent, its activation on every token of its contexts, one context after the other."""
    for latent, one in chosen:
        rows, values = firings[latent]
        fired_at = windows.row_places(rows)
        places = windows.token_places(one.windows.astype(np.int64))
        at = np.minimum(np.searchsorted(fired_at, places), len(fired_at) - 1)
        yield np.where(fired_at[at] == places, values[at], np.float32(0))
