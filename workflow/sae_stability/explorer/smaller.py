"""The nearest latents in a smaller SAE, from the stitching of two neighbours of a chain."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sae_stability.explorer.chunks import columns
from sae_stability.files import read_json, read_table


def smaller(stitches: Sequence[Path], cohort: str, seed: int) -> list[dict]:
    """For each chain in which an SAE is the larger of two: the smaller one, and what is nearest to each latent in it.

    Args:
        stitches: folders of stitched pairs. `stitch.json` names the SAEs by folders COHORT/seed-N.
        cohort: the SAE's cohort.
        seed: its seed.

    Returns:
        `cohort` and `seed` of the smaller SAE; columns `nearest` (-1: none), `cosine`, `novel`, a row a latent.
    """
    found: dict[tuple[str, str], dict] = {}
    for folder in stitches:
        pair = read_json(folder / "stitch.json")
        small, large = Path(pair["small"]), Path(pair["large"])
        if (large.parent.name, large.name) == (cohort, f"seed-{seed}"):
            table, _ = read_table(folder / "insertions.parquet", ["latent", "nearest", "max_cosine", "kind"])
            table = table.sort_values("latent")
            shown = {"nearest": table["nearest"], "cosine": table["max_cosine"], "novel": table["kind"] == "novel"}
            number = int(small.name.removeprefix("seed-"))
            # Two chains may hold the same pair of SAEs.
            found[small.parent.name, small.name] = {
                "cohort": small.parent.name,
                "seed": number,
                "columns": columns(pd.DataFrame(shown)),
            }
    return list(found.values())
