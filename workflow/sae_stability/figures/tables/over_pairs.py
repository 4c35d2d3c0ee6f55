"""Means over the pairs of a cohort, with intervals from a bootstrap over its seeds."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.match.intervals import interval, resamples


def read_pairs(inputs: list[tuple[str, Path]], ending: str) -> pd.DataFrame:
    """The tables A-B`ending` among the inputs, one below the other, with columns `a` and `b`, the two seeds.

    Raises:
        StudyError: there is none, or one is missing or damaged.
    """
    found = []
    for _, path in inputs:
        name, part = Path(path).stem, Path(path).parent.parent.name
        if part != "substitution" or not Path(path).name.endswith(ending):
            continue
        seeds = name.removesuffix(ending.removesuffix(".parquet")).split("-")
        if len(seeds) == 2:
            table, metadata = files.read_table(path)
            a, b = map(int, seeds)
            found.append(table.assign(a=a, b=b, threshold=float(metadata["threshold"])))
    if not found:
        raise StudyError(f"this figure needs the tables of a cohort's pairs, such as substitution/COHORT/0-1{ending}")
    return pd.concat(found, ignore_index=True)


def with_intervals(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The rows, with `mean`, `low` and `high` of `value` over the pairs that have the same `by`.

    Seeds are resampled, as for overlap (`match.intervals`). Fewer than three seeds, or a pair without a value, give no
    interval (NaN).
    """
    parts = []
    for _, group in rows.groupby(by, sort=False, dropna=False):
        values, seeds = group["value"].to_numpy(float), np.unique(group[["a", "b"]])
        low = high = np.nan
        if len(seeds) > 2:
            counts, probability = resamples(len(seeds))
            weights = counts[:, np.searchsorted(seeds, group["a"])] * counts[:, np.searchsorted(seeds, group["b"])]
            kept = weights.any(axis=1)
            low, high = interval(values, weights[kept], probability[kept])
        mean = values[np.isfinite(values)].mean() if np.isfinite(values).any() else np.nan
        parts.append(group.assign(mean=mean, low=low, high=high))
    return pd.concat(parts, ignore_index=True)
