"""How much of the activations the consensus SAE of each level explains, beside its controls."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sae_stability.consensus import dictionary
from sae_stability.random_streams import stream
from sae_stability.sae.weights import Weights

COLUMNS = ("series", "m", "n_latents", "k", "fvu", "l0", "ce")
FIRST_LEVEL = 2
"""A group of one seed is no consensus."""


class Candidate(NamedTuple):
    """An SAE of the curve: "consensus", "random" or "frequent", at level m."""

    series: str
    m: int
    sae: Weights


def candidates(
    saes: dict[int, Weights], groups: pd.DataFrame, rates: dict[int, np.ndarray], direction: dictionary.Direction
) -> Iterator[Candidate]:
    """The consensus SAE of each level from 2 to the number of seeds, and two controls with as many latents.

    Controls are latents of the first SAE, as they are: live ones drawn at random, and those that fire most often. A
    level without groups has none; a level with more groups than that SAE has live latents has no control.

    Where the activation selects the k largest, all three get the same k: the sum over the groups of the mean rate at
    which the members fire, so that each latent keeps about the rate that it has in its own SAE.

    Args:
        saes: made by `dictionary.comparable`.
        groups: made by `groups.groups`.
        rates: (n_latents,) fraction of rows on which each latent fires, by seed; empty where that is not known: then
            every latent counts as live, and k is that of the SAEs.
        direction: see `dictionary.consensus`.
    """
    seed = next(iter(saes))
    live = np.flatnonzero(rates[seed] > 0) if rates else np.arange(saes[seed].n_latents)
    by_rate = live[np.argsort(-rates[seed][live], kind="stable")] if rates else live[:0]
    for m in range(FIRST_LEVEL, len(saes) + 1):
        chosen = groups[groups["n_seeds"] >= m]
        if chosen.empty:
            continue
        built = dictionary.consensus(saes, chosen, direction)
        n = built.n_latents
        parts = {"consensus": built}
        if n <= len(live):
            drawn = np.random.default_rng(stream("consensus control", seed, m)).choice(live, n, replace=False)
            parts["random"] = dictionary.some_latents(saes[seed], np.sort(drawn))
        if n <= len(by_rate):
            parts["frequent"] = dictionary.some_latents(saes[seed], np.sort(by_rate[:n]))
        for series, sae in parts.items():
            yield Candidate(series, m, dictionary.with_k(sae, _firing(chosen, rates)) if rates else sae)


def curve(found: list[Candidate], measure: Callable[[Weights], dict], whole: list[dict]) -> pd.DataFrame:
    """A row for each candidate, and one for the mean of the whole SAEs (series "seed", m 0).

    Args:
        found: the SAEs.
        measure: gives `fvu`, `l0` and `ce` of an SAE.
        whole: `n_latents`, `k`, `fvu`, `l0` and `ce` of each whole SAE.
    """
    rows = [
        {"series": one.series, "m": one.m, "n_latents": one.sae.n_latents, "k": one.sae.k} | measure(one.sae)
        for one in found
    ]
    if whole:
        means = pd.DataFrame(whole).astype(float).mean()
        rows.append({"series": "seed", "m": 0} | means.to_dict())
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    floats = dict.fromkeys(("k", "fvu", "l0", "ce"), float)
    return table.astype(floats | {"series": str, "m": np.int64, "n_latents": np.int64})


def _firing(groups: pd.DataFrame, rates: dict[int, np.ndarray]) -> float:
    """The sum over groups of the mean rate of their members."""
    rate = np.array([rates[seed][latent] for seed, latent in zip(groups["seed"], groups["latent"], strict=True)])
    return float(pd.Series(rate).groupby(groups["group"].to_numpy()).mean().sum())
