"""The figure `tokens`: shared fraction against training tokens."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures.drawings import sweep


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run and the paper's Figure 4 against training tokens, on a logarithmic axis."""
    return sweep.draw_sweep(table, style, "training tokens")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    return sweep.caption_sweep(table, "the number of training tokens")
