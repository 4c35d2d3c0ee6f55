"""What the verbs of this room share: the latents of a cohort, and the tables that they write."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.files import read_table
from sae_stability.interpret.samples import Groups, sample_groups
from sae_stability.interpret.windows import Contexts, live_latents

SeedFiles = Sequence[tuple[int, Path]]


def by_seed(name: str, files: SeedFiles, wanted: Sequence[int] = ()) -> dict[int, Path]:
    """The files by seed, ascending.

    Raises:
        StudyError: a seed is given twice, or one of `wanted` is missing.
    """
    found = dict(sorted(files))
    if len(found) < len(files):
        raise StudyError(f"--{name}: a seed is given twice")
    if missing := [seed for seed in wanted if seed not in found]:
        raise StudyError(f"--{name}: seed {missing[0]} is missing; give {name} of every seed")
    return found


def cohort_latents(
    contexts: dict[int, Path], match: SeedFiles, count: int, seed: int
) -> tuple[Groups, dict[int, Contexts]]:
    """The sampled latents of a cohort, and the contexts of each SAE for them.

    Args:
        contexts: seed -> table of contexts. The lowest seed is that of the first SAE.
        match: seed of each other SAE -> the first SAE's match with it.
        count: latents to sample.
        seed: of the sample.

    Raises:
        StudyError: a match is missing, or a table cannot be read.
    """
    first = min(contexts)
    matches = by_seed("match", match, [other for other in contexts if other != first])
    counterparts = {other: _counterparts(matches[other]) for other in contexts if other != first}
    groups = sample_groups(live_latents(contexts[first]), counterparts, first, count, seed)
    return groups, {other: Contexts(path, groups.latents[other]) for other, path in contexts.items()}


def _counterparts(match: Path) -> np.ndarray:
    """Counterpart of each latent of the first SAE in the second, by decoder rows; -1 for none."""
    table, _ = read_table(match, ["counterpart_decoder"])
    return table["counterpart_decoder"].to_numpy()
