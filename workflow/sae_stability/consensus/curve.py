"""How much of the activations the consensus SAE of each level explains, beside its controls."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sae_stability.consensus import dictionary
from sae_stability.random_streams import stream
from sae_stability.sae.weights import Weights

COLUMNS = ("series", "m", "n_latents", "k", "fvu", "l0", "ce", "seed")
NO_SEED = -1
"""The `seed` of a consensus SAE, which is of several."""
FIRST_LEVEL = 2
"""A group of one seed is no consensus."""


class Candidate(NamedTuple):
    """An SAE of the curve: "consensus", "refitted", "random" or "frequent", at level m.

    `seed` is the one that a control is of. `firing` is how many latents are to fire on a row; None if not known.
    """

    series: str
    m: int
    seed: int
    sae: Weights
    firing: float | None


def candidates(
    saes: dict[int, Weights], groups: pd.DataFrame, rates: dict[int, np.ndarray], direction: dictionary.Direction
) -> Iterator[Candidate]:
    """The consensus SAE of each level from 2 to the number of seeds, and of each seed two controls of as many latents.

    Controls are latents of one SAE, as they are: live ones drawn at random, and those that fire most often. A level
    without groups has none; a level with more groups than an SAE has live latents has no control of that SAE.

    Where the activation selects the k largest, all get the same k: the sum over the groups of the mean rate at
    which the members fire, so that each latent keeps about the rate that it has in its own SAE.

    Args:
        saes: made by `dictionary.comparable`.
        groups: made by `groups.groups`.
        rates: (n_latents,) fraction of rows on which each latent fires, by seed; empty where that is not known: then
            every latent counts as live, and k is that of the SAEs.
        direction: see `dictionary.consensus`.
    """
    for m in range(FIRST_LEVEL, len(saes) + 1):
        chosen = groups[groups["n_seeds"] >= m]
        if chosen.empty:
            continue
        k = _firing(chosen, rates) if rates else None
        built = dictionary.consensus(saes, chosen, direction)
        yield Candidate("consensus", m, NO_SEED, _with_k(built, k), k)
        for seed in saes:
            for series, latents in _controls(saes[seed], rates.get(seed), built.n_latents, seed, m):
                yield Candidate(series, m, seed, _with_k(dictionary.some_latents(saes[seed], latents), k), k)


def curve(found: Iterable[Candidate], measure: Callable[[Weights], dict], whole: list[dict]) -> pd.DataFrame:
    """A row for each candidate, and one for each whole SAE (series "seed", m 0).

    Args:
        found: the SAEs; each is measured before the next one is made.
        measure: gives `fvu`, `l0` and `ce` of an SAE.
        whole: `seed`, `n_latents`, `k`, `fvu`, `l0` and `ce` of each whole SAE.
    """
    rows = [
        {"series": one.series, "m": one.m, "n_latents": one.sae.n_latents, "k": one.sae.k, "seed": one.seed}
        | measure(one.sae)
        for one in found
    ]
    rows += [{"series": "seed", "m": 0} | sae for sae in whole]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    floats = dict.fromkeys(("k", "fvu", "l0", "ce"), float)
    return table.astype(floats | {"series": str} | dict.fromkeys(("m", "n_latents", "seed"), np.int64))


def _controls(sae: Weights, rate: np.ndarray | None, n: int, seed: int, m: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and latents, ascending, of each control of `n` latents; none where fewer are live."""
    live = np.arange(sae.n_latents) if rate is None else np.flatnonzero(rate > 0)
    if n > len(live):
        return
    drawn = np.random.default_rng(stream("consensus control", seed, m)).choice(live, n, replace=False)
    yield "random", np.sort(drawn)
    if rate is not None:
        yield "frequent", np.sort(live[np.argsort(-rate[live], kind="stable")][:n])


def _with_k(sae: Weights, k: float | None) -> Weights:
    return sae if k is None else dictionary.with_k(sae, k)


def _firing(groups: pd.DataFrame, rates: dict[int, np.ndarray]) -> float:
    """The sum over groups of the mean rate of their members."""
    rate = np.array([rates[seed][latent] for seed, latent in zip(groups["seed"], groups["latent"], strict=True)])
    return float(pd.Series(rate).groupby(groups["group"].to_numpy()).mean().sum())
