"""Table of the figure `seeds`: the fraction found only in the base SAE against the number of SAEs."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap, power_law, seed_counts


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Mean and spread at every number of SAEs, with the paper's Figure 2.

    Args:
        inputs: (any label, overlap folder) of one cohort.

    Returns:
        Columns `seed_counts.COLUMNS`; `m` is the number of SAEs compared, the base included. Also those of
        `power_law.fits`, the same in every row of a source and choice of latents; NaN for floors.
    """
    rows = [
        seed_counts.published_row(published.MODEL, "only_in_base", m, mean, std)
        for m, (mean, std) in published.ONLY_IN_BASE.items()
    ]
    found = overlap.with_published(seed_counts.rows_of(inputs, "only_in_base"), rows)
    groups = found.groupby(["source", "latents"], sort=False)
    fitted = [
        {"source": source, "latents": latents, **power_law.fits(group["m"], group["mean"])}
        for (source, latents), group in groups
        if source != "floor"  # which is known exactly: (1 - p)^(m - 1)
    ]
    return found.merge(pd.DataFrame(fitted), how="left", on=["source", "latents"])
