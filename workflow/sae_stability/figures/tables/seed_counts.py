"""Fractions by number of SAEs, from a cohort's `seeds.parquet`, in the form that `seeds` and `sharing` draw."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap

COLUMNS = ("series", "cohort", "source", "latents", "statistic", "m", "mean", "std", "n", "n_seeds", "threshold")


def rows_of(inputs: list[tuple[str, Path]], statistic: str) -> pd.DataFrame:
    """The rows of one statistic for one cohort.

    Args:
        inputs: (any label, overlap folder) of the cohort.
        statistic: "only_in_base" or "in_exactly".

    Returns:
        Columns `COLUMNS`; `mean` and `std` are fractions of the base SAE's latents, `n` counts the values averaged.
    """
    columns = [column for column in COLUMNS if column not in ("series", "n_seeds", "threshold")]
    seeds, threshold = overlap.read(overlap.only_folder(inputs), "seeds", columns)
    trained = seeds[(seeds["source"] == "trained") & (seeds["statistic"] == statistic)]
    rows = seeds[seeds["statistic"] == statistic]
    rows = rows.assign(series="this run", n_seeds=int(trained["m"].max()), threshold=threshold)
    return rows[list(COLUMNS)].sort_values(["source", "latents", "m"], ascending=[False, True, True], ignore_index=True)


def published_row(series: str, statistic: str, m: int, mean: float, std: float) -> dict:
    """One published value as a row of `COLUMNS`."""
    return {
        **{"series": series, "cohort": "", "source": "published", "latents": "all", "statistic": statistic},
        **{"m": m, "mean": mean, "std": std, "n": 0, "n_seeds": published.SEEDS},
        "threshold": published.THRESHOLD,
    }
