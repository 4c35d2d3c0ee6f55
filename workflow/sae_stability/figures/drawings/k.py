"""The figure `k`: shared fraction against k."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures.drawings import sweep


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run and the paper's Figure 4 against k, on a logarithmic axis."""
    return sweep.draw_sweep(table, style, "k (latents active a token)")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    return sweep.caption_sweep(table, "k")
