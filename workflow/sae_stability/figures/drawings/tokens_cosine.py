"""The figure `tokens-cosine`: mean cosine of matched rows against the number of training tokens."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures.drawings import cosines


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run and the paper's appendix against the number of training tokens, on a logarithmic axis."""
    return cosines.draw_cosines(table, style, "training tokens")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    return cosines.caption_cosines(table, "the number of training tokens")
