"""Table of the figure `pooling`: does an SAE reconstruct better with another seed's latents beside its own?"""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures.tables.over_pairs import read_pairs, with_intervals

COLUMNS = (
    *("series", "source", "cohort", "a", "b", "pool", "n_added", "candidates", "l0", "fvu", "value", "mean", "low"),
    *("high", "threshold"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each pair and pool: `value` is FVU less that of the SAE alone; `mean`, `low`, `high` are over pairs.

    The controls, shared latents and random directions, have the source "floor".

    Args:
        inputs: (cohort, file) of each table of its pairs; others are passed over.
    """
    rows = read_pairs(inputs, "-pooling.parquet")
    alone = rows[rows["pool"] == "none"].set_index(["a", "b"])["fvu"]
    rows["value"] = rows["fvu"] - alone.loc[list(zip(rows["a"], rows["b"], strict=True))].to_numpy()
    # Without shared latents, or without unshared ones, nothing was added to compare.
    rows = rows[(rows["n_added"] > 0) | (rows["pool"] == "none")]
    rows = with_intervals(rows, ["pool"]).astype({"a": str, "b": str})
    source = np.where(rows["pool"].isin(("shared", "random directions")), "floor", "trained")
    return rows.assign(series="this run", source=source, cohort=inputs[-1][0])[list(COLUMNS)]
