"""Table of the figure `tokens`: shared fraction of every pair against the number of training tokens."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """`overlap.sweep_table` over the number of training tokens."""
    return overlap.sweep_table(inputs, published.TOKENS, published.LATENTS)
