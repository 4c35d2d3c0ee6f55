"""Table of the figure `k`: shared fraction of every pair against the k, the number of latents active a token."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The pairs of every cohort at its k, the number of latents active a token, with the paper's Figure 4.

    Args:
        inputs: (k, the number of latents active a token as text, overlap folder), one a cohort.

    Returns:
        Columns `overlap.PAIR_COLUMNS`.
    """
    rows = [
        overlap.published_row(
            series=published.MODEL, value=f"{x:g}", x=x, size=published.LATENTS, statistic=statistic, fraction=fraction
        )
        for x, fractions in published.K.items()
        for statistic, fraction in zip(("joint", "same_counterpart"), fractions, strict=True)
    ]
    return overlap.with_published(overlap.pair_rows(inputs, overlap.number), rows)
