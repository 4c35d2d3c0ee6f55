"""Table of the figure `subspace`: do the unshared latents of two seeds span the same subspace?"""

from pathlib import Path

import pandas as pd

from sae_stability.figures.tables import overlap
from sae_stability.figures.tables.over_pairs import with_intervals

COLUMNS = (
    *("series", "source", "cohort", "a", "b", "latents", "rank", "n", "value", "std", "mean", "low", "high"),
    "threshold",
)
_MEASURED = ("subspace_rank", "subspace_overlap", "subspace_random", "subspace_random_std")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Two rows for each pair and choice of latents: its unshared latents, and random latents of the same number.

    Args:
        inputs: (any label, overlap folder) of one cohort.

    Returns:
        Columns `COLUMNS`. `source` is "trained" (unshared latents) or "floor" (random latents); `value` is the overlap
        of the two subspaces of dimension `rank`, in [0, 1]; `std` is over the random draws (NaN for "trained"); `n`
        counts A's unshared latents; `mean`, `low` and `high` are over the pairs.

    Raises:
        StudyError: a missing or damaged table, or one without subspaces.
    """
    keys = ["cohort", "a", "b", "latents"]
    columns = [*keys, "source", "n", "shared", *_MEASURED]
    pairs, threshold = overlap.read(overlap.only_folder(inputs), "pairs", columns)
    pairs = pairs[pairs["source"] == "trained"]
    unshared = (pairs["n"] * (1 - pairs["shared"])).round().fillna(0).astype(int)  # no live latents, no fraction
    rows = pairs[keys].assign(rank=pairs["subspace_rank"], n=unshared)
    rows = rows.assign(series="this run", threshold=threshold)
    both = [
        rows.assign(source="trained", value=pairs["subspace_overlap"], std=float("nan")),
        rows.assign(source="floor", value=pairs["subspace_random"], std=pairs["subspace_random_std"]),
    ]
    found = with_intervals(pd.concat(both, ignore_index=True), ["source", "latents"])
    return found.astype({"a": str, "b": str})[list(COLUMNS)]
