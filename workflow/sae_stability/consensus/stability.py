"""How stable each latent of an SAE is, as a table and as JSON for other tools."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.consensus.sharing import Sharing
from sae_stability.files import write_json, write_table

FORMAT = "sae-stability/stability"
VERSION = 1
COLUMNS = ("latent", "stability", "shared_with", "group", "n_seeds", "consistent")


def stability(found: Sharing, groups: pd.DataFrame, seed: object) -> pd.DataFrame:
    """A row for each latent of an SAE.

    `stability` is the fraction of the other SAEs in which the latent is shared, and `shared_with` their number. `group`
    is its group, `n_seeds` the number of SAEs in that group, and `consistent` whether no match leads out of it.
    """
    place = found.seeds.index(seed)
    shared_with = (found.partner[found.start[place] : found.start[place + 1]] >= 0).sum(axis=1)
    own = groups[groups["seed"] == seed].sort_values("latent", ignore_index=True)
    own = own.assign(stability=shared_with / (len(found.seeds) - 1), shared_with=shared_with)
    return own[list(COLUMNS)]


def write(table: pd.DataFrame, out: Path, *, others: list, threshold: float, config_hash: str = "") -> None:
    """Write the table of an SAE as `out` and, with the ending .json, as JSON.

    Args:
        table: made by `stability`.
        out: Parquet file.
        others: names of the SAEs that it was compared with.
        threshold: the cosine from which a latent counted as shared.
        config_hash: fingerprint of what the table was made from.
    """
    about = {"threshold": threshold, "others": others, "config_hash": config_hash}
    write_table(out, table, about)
    columns = {name: table[name].to_numpy(dtype=None).tolist() for name in COLUMNS if name != "latent"}
    columns["stability"] = np.round(columns["stability"], 6).tolist()
    write_json(
        out.with_suffix(".json"), {"format": FORMAT, "version": VERSION, "n_latents": len(table)} | about | columns
    )
