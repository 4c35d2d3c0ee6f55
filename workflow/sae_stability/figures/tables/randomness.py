"""Table of the figure `randomness`: shared fraction of every pair by what differs between the SAEs."""

from pathlib import Path

import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.figures import published
from sae_stability.figures.tables import overlap

KINDS = ("init", "order", "both")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The pairs of every cohort, and the paper's Figure 1, whose SAEs differ in their initial weights.

    Args:
        inputs: (which seed varies: one of `KINDS`, overlap folder) of each cohort, in the order to draw.

    Returns:
        Columns `overlap.PAIR_COLUMNS`; `value` is one of `KINDS`, `x` numbers the rows of the picture from 0.

    Raises:
        StudyError: a label that is not one of `KINDS`.
    """
    for label, _ in inputs:
        if label not in KINDS:
            raise StudyError(f"figure randomness, {label!r}: must say which seed varies; one of {', '.join(KINDS)}")
    run = overlap.pair_rows_in_order(inputs)
    rows = [
        overlap.published_row(
            series=published.MODEL,
            value="init",
            x=run["x"].max() + 1,
            size=published.LATENTS,
            statistic=statistic,
            fraction=published.JOINT[statistic],
        )
        for statistic in ("joint", "same_counterpart")
    ]
    return overlap.with_published(run, rows)
