"""The figure `k-cosine`: mean cosine of matched rows against k."""

import pandas as pd
from matplotlib.figure import Figure

from sae_stability.figures.drawings import cosines


def draw(table: pd.DataFrame, style: dict) -> Figure:
    """Every pair of this run and the paper's appendix against k, on a logarithmic axis."""
    return cosines.draw_cosines(table, style, "k (latents active a token)")


def caption(table: pd.DataFrame) -> str:
    """What the figure shows in this run, as reStructuredText."""
    return cosines.caption_cosines(table, "k")
