"""Table of the figure `tokens-cosine`: mean cosine of matched rows of every pair against training tokens."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.cosine_table` over the number of training tokens."""
    return overlap.cosine_table(inputs, published.TOKENS_COSINE, published.LATENTS)
