"""The way from the small SAE to the large one: add novel latents, swap components, take out what is left."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sae_stability.random_streams import stream
from sae_stability.stitch.components import Components

Order = Literal["random", "gain", "cosine"]
PHASES = ("start", "novel", "swap", "unpartnered")


@dataclass(frozen=True)
class Interpolation:
    """The steps; step 0 is the small SAE, and the last step is the large one.

    Attributes:
        steps: a row a step: `step`, `phase` (one of `PHASES`), `component` (-1 at the start), `added`, `removed`
            (latents), `n_latents` (after the step).
        taken, added: (n_small,) and (n_large,) int64: the step that takes or adds each latent.
        kept: (steps,) latents of the small SAE after each step.
    """

    steps: pd.DataFrame
    taken: np.ndarray
    added: np.ndarray
    kept: np.ndarray


def interpolation(found: Components, order: Order, seed: int = 0, gains: np.ndarray | None = None) -> Interpolation:
    """First one novel latent a step, then one component with latents of both SAEs, then the small SAE's other latents.

    Args:
        found: the components.
        order: `random`; `cosine`: the novel latents from the lowest highest cosine on, the components from the highest
            on; `gain`: from what lowers the error of the small SAE most.
        seed: of the random order.
        gains: for `gain`: the change of the error by each component alone, (components,).
    """
    both = (found.n_small_in > 0) & (found.n_large_in > 0)
    highest = np.full(len(both), -np.inf)
    np.maximum.at(highest, found.of_large, found.max_cosine)
    groups = {
        "novel": np.flatnonzero(found.n_small_in == 0),
        "swap": np.flatnonzero(both),
        "unpartnered": np.flatnonzero(found.n_large_in == 0),
    }
    drawn = np.random.default_rng(stream("stitch", seed))
    ordered = []
    for phase, some in groups.items():
        if order == "random":
            some = drawn.permutation(some)
        elif order == "gain":
            some = some[np.argsort(gains[some], kind="stable")]
        elif phase != "unpartnered":
            some = some[np.argsort(highest[some] if phase == "novel" else -highest[some], kind="stable")]
        ordered.append(some)
    components = np.concatenate(ordered)
    step = np.empty(len(both), np.int64)
    step[components] = np.arange(1, len(both) + 1)
    phases = np.repeat(list(groups), [len(some) for some in ordered])
    added, removed = (np.append(0, sizes[components]) for sizes in (found.n_large_in, found.n_small_in))
    kept = len(found.of_small) - removed.cumsum()
    steps = pd.DataFrame(
        {
            "step": np.arange(len(added)),
            "phase": np.append("start", phases),
            "component": np.append(-1, components),
            "added": added,
            "removed": removed,
            "n_latents": kept + added.cumsum(),
        }
    )
    return Interpolation(steps, step[found.of_small], step[found.of_large], kept)


def shuffled_reconstruction(found: Components, seed: int) -> np.ndarray:
    """The latents of the large SAE that are not novel, in the random order in which they are added alone."""
    return np.random.default_rng(stream("stitch reconstruction", seed)).permutation(np.flatnonzero(~found.novel))
