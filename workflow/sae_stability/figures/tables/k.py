"""Table of the figure `k`: shared fraction of every pair against k, the number of latents active on a token."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.sweep_table` over k, the number of latents active on a token."""
    return overlap.sweep_table(inputs, published.K, published.LATENTS)
