"""The figure `size`: shared fraction against number of latents."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures.drawings import sweep


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run and the paper's Figure 4 against number of latents, on a logarithmic axis."""
    return sweep.draw_sweep(table, style, "number of latents")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    return sweep.caption_sweep(table, "the number of latents")
