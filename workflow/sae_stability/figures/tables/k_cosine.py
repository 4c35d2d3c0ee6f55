"""Table of the figure `k-cosine`: mean cosine of matched rows of every pair against k."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.cosine_table` over k, the number of latents active on a token."""
    return overlap.cosine_table(inputs, published.K_COSINE, published.LATENTS)
