"""Rows of `seeds.parquet` of one cohort, in the form that the figures `seeds` and `sharing` draw."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.tables import overlap

COLUMNS = ("series", "cohort", "source", "latents", "statistic", "m", "mean", "std", "n", "n_seeds", "threshold")


def rows_of(inputs: list[tuple[str, Path]], statistic: str) -> pd.DataFrame:
    """The rows of `statistic` ("only_in_base" or "in_exactly") of the one cohort in `inputs`; columns `COLUMNS`.

    `mean` and `std` are fractions of the base SAE's latents; `n` counts the values averaged.
    """
    ((_, folder),) = inputs
    seeds, threshold = overlap.read(folder, "seeds", [*COLUMNS[1:9]])
    trained = seeds[(seeds["source"] == "trained") & (seeds["statistic"] == statistic)]
    rows = seeds[seeds["statistic"] == statistic]
    rows = rows.assign(series="this run", n_seeds=int(trained["m"].max()), threshold=threshold)
    return rows[list(COLUMNS)].sort_values(["source", "latents", "m"], ascending=[False, True, True], ignore_index=True)


def published_row(series: str, statistic: str, m: int, mean: float, std: float) -> dict:
    """One published value as a row of `COLUMNS`; the paper's base configuration has 9 seeds."""
    return {
        **{"series": series, "cohort": "", "source": "published", "latents": "all", "statistic": statistic},
        **{"m": m, "mean": mean, "std": std, "n": 0, "n_seeds": 9, "threshold": 0.7},
    }
