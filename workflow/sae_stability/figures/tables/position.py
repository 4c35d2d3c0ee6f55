"""Table of the figure `position`: shared fraction of every pair by where in the layer the SAEs read."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The pairs of every cohort at its position, with the paper's Figure 5 (middle).

    Args:
        inputs: (name of the position or hookpoint, overlap folder) of each cohort, in the order to draw.

    Returns:
        Columns `overlap.PAIR_COLUMNS`; `x` numbers the positions from 0 in the order given.
    """
    run = overlap.pair_rows_in_order(inputs)
    rows = [
        overlap.published_row(
            series=f"{published.PAPER}, {model}",
            value=f"{model} {position}",
            x=run["x"].max() + 1 + place,
            size=size,
            statistic="decoder_only",
            fraction=fraction,
        )
        for place, ((model, position, size), fraction) in enumerate(published.POSITION.items())
    ]
    return overlap.with_published(run, rows)
