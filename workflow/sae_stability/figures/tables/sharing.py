"""Table of the figure `sharing`: the fraction of latents found in exactly m of the cohort's n SAEs."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap, seed_counts


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Mean and spread over bases at every m, with the paper's "exactly m of 9".

    Args:
        inputs: (any label, overlap folder) of one cohort.

    Returns:
        Columns `seed_counts.COLUMNS`; `m` counts the SAEs a latent is found in, the base included.
    """
    rows = [
        seed_counts.published_row(published.MODEL, "in_exactly", m, fraction, float("nan"))
        for m, fraction in published.IN_EXACTLY.items()
    ]
    return overlap.with_published(seed_counts.rows_of(inputs, "in_exactly"), rows)
