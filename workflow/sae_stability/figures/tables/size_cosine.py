"""Table of the figure `size-cosine`: mean cosine of matched rows of every pair against the number of latents."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.cosine_table` over the number of latents."""
    return overlap.cosine_table(inputs, published.SIZE_COSINE)
