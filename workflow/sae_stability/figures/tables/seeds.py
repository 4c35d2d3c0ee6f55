"""Table of the figure `seeds`: the fraction found only in the base SAE against the number of SAEs."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap, seed_counts


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Mean and spread at every number of SAEs, with the paper's Figure 2.

    Args:
        inputs: (any label, overlap folder) of one cohort.

    Returns:
        Columns `seed_counts.COLUMNS`; `m` is the number of SAEs compared, the base included.
    """
    rows = [
        seed_counts.published_row(published.MODEL, "only_in_base", m, mean, std)
        for m, (mean, std) in published.ONLY_IN_BASE.items()
    ]
    return overlap.with_published(seed_counts.rows_of(inputs, "only_in_base"), rows)
