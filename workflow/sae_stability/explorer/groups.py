"""Groups of latents over seeds, from the consensus of a cohort."""

from pathlib import Path

import pandas as pd

from sae_stability.files import read_table

_COLUMNS = ["group", "seed", "latent", "n_seeds", "mean_cosine", "consistent"]


class Groups:
    """The groups of a cohort.

    Args:
        folder: where its consensus lies.

    Raises:
        StudyError: the table of groups is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._table, _ = read_table(folder / "groups.parquet", _COLUMNS)

    def of(self, seed: int) -> pd.DataFrame:
        """A row for each latent of an SAE: its group, the number of members, and whether no match leads out of it."""
        own = self._table[self._table["seed"] == seed].sort_values("latent", ignore_index=True)
        return own[["group", "n_seeds", "consistent"]]

    def members(self) -> pd.DataFrame:
        """A row for each member of each group of two latents or more, by group."""
        found = self._table[self._table["n_seeds"] > 1]
        return found[["group", "seed", "latent", "mean_cosine"]]
