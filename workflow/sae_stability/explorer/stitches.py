"""Stitched pairs of SAEs: the nearest latents of the smaller one, and the connected components of the two."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.explorer.chunks import columns
from sae_stability.files import read_json, read_table


def stitched(folder: Path) -> tuple[dict, dict]:
    """What stitching says of a pair of SAEs.

    Args:
        folder: of the pair, NAME/N. Its `stitch.json` names the SAEs by folders COHORT/seed-N.

    Returns:
        `name` (of the chain), `pair` (its number in it), `small`, `large` (cohort and seed of each) and `threshold`;
        and the columns of each side, a row a latent: `component`, and on the large side `nearest` (latent of the small
        SAE) and `cosine` (with it).

    Raises:
        StudyError: a file is missing or damaged, or the tables have other latents.
    """
    about = read_json(folder / "stitch.json")
    near, _ = read_table(folder / "insertions.parquet", ["latent", "nearest", "max_cosine"])
    near = near.sort_values("latent", ignore_index=True)
    table, _ = read_table(folder / "components.parquet", ["component", "side", "latent"])
    small, large = (_component(table, side) for side in ("small", "large"))
    if len(large) != len(near):
        raise StudyError(f"{folder}: its tables have {len(near):,} and {len(large):,} latents; delete it and run again")
    facts = {
        "name": folder.parent.name,
        "pair": int(folder.name),
        "small": _sae(about["small"]),
        "large": _sae(about["large"]),
        "threshold": about["threshold"],
    }
    by_large = {"component": large, "nearest": near["nearest"], "cosine": near["max_cosine"]}
    sides = {"small": {"component": small}, "large": by_large}
    return facts, {side: {"columns": columns(pd.DataFrame(values))} for side, values in sides.items()}


def _component(table: pd.DataFrame, side: str) -> np.ndarray:
    """`(n_latents,)` the component of each latent of one SAE."""
    own = table[table["side"] == side].sort_values("latent")
    return own["component"].to_numpy()


def _sae(folder: str) -> tuple[str, int]:
    path = Path(folder)
    return path.parent.name, int(path.name.removeprefix("seed-"))
