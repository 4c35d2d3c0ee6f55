"""Table of the figure `thresholds`: how the fractions depend on the threshold on the cosine."""

from pathlib import Path

import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import overlap

STATISTICS = ("shared", "joint", "max")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """One row for each pair, source, latents, statistic and threshold, with the paper's appendix figure.

    Args:
        inputs: (any label, overlap folder) of one cohort.

    Returns:
        Columns series, cohort, a, b, source, latents, statistic, threshold, fraction, chosen (the study's threshold).
    """
    folder = overlap.only_folder(inputs)
    keys = ["cohort", "a", "b", "source", "latents", "threshold"]
    sweep, _ = overlap.read(folder, "thresholds", [*keys, *STATISTICS])
    _, chosen = overlap.read(folder, "pairs", ["cohort"])
    rows = sweep.melt(id_vars=keys, value_vars=list(STATISTICS), var_name="statistic", value_name="fraction")
    rows = rows.assign(series="this run", chosen=chosen).astype({"a": str, "b": str})
    rows = rows[["series", *keys[:-1], "statistic", "threshold", "fraction", "chosen"]]
    return overlap.with_published(rows, _published(chosen))


def _published(chosen: float) -> list[dict]:
    return [
        {
            **{"series": published.MODEL, "cohort": "", "a": "", "b": "", "source": "published", "latents": "all"},
            **{"statistic": statistic, "threshold": threshold, "fraction": fraction, "chosen": chosen},
        }
        for threshold, fractions in published.THRESHOLDS.items()
        for statistic, fraction in zip(("joint", "shared", "max"), fractions, strict=True)
    ]
