"""Table of the figure `explanation-similarity`: how alike explanations of matched latents are, beside other pairs."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import published
from sae_stability.figures.tables import overlap, scored

PAIRINGS = {"matched": "similarity", "unmatched": "unmatched", "best": "best"}

COLUMNS = (
    *("series", "row", "source", "cohort", "a", "b", "latent", "counterpart", "cosine_decoder", "pairing"),
    *("above", "similarity", "spread", "low", "high", "n", "threshold", "explainer"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Each pair of latents with three similarities, and their means.

    Args:
        inputs: (any label, path) of a cohort's overlap folder, and of its table of explanation similarity.

    Returns:
        Columns `COLUMNS`. `pairing`: "matched", "unmatched" (with the explanation of another latent) or "best" (with
        the most similar explanation of the other SAE). `above`: "yes" where the matched decoder cosine reaches the
        threshold, else "no"; "all" in the means of both. In rows "mean", `spread` is the standard deviation over `n`
        pairs, `low` and `high` the mean's 95 % interval over the first SAE's latents.

    Raises:
        StudyError: not these two inputs, or a damaged one.
    """
    compared = [Path(path) for _, path in inputs if Path(path).name == "similarity.parquet"]
    if len(compared) != 1:
        raise StudyError("this figure needs one table of explanation similarity, explanations/EXPLAINER/COHORT")
    pairs, threshold = overlap.read(scored.folder_of(inputs), "pairs", ["cohort"])
    found, metadata = files.read_table(compared[0])
    rows = found.rename(columns={"first_latent": "latent"}).melt(
        ["seed", "latent", "counterpart", "cosine_decoder"], PAIRINGS.values(), "pairing", "value"
    )
    names = {column: pairing for pairing, column in PAIRINGS.items()}
    above = np.where(rows["cosine_decoder"] >= threshold, "yes", "no")
    rows = rows.assign(pairing=rows["pairing"].map(names), above=above, similarity=rows["value"], row="pair")
    rows = rows.assign(a=str(metadata["first"]), b=rows["seed"].astype(str), n=1)
    rows["source"] = np.where(rows["pairing"] == "unmatched", "floor", "trained")
    common = {"series": "this run", "cohort": pairs["cohort"].iloc[0], "threshold": threshold}
    whole = pd.concat([rows, pd.DataFrame(_means(rows))], ignore_index=True)
    whole = whole.assign(**common, explainer=compared[0].parts[-3]).reindex(columns=COLUMNS)
    return pd.concat([whole, pd.DataFrame(_published(threshold), columns=COLUMNS)], ignore_index=True)


def _means(rows: pd.DataFrame) -> list[dict]:
    found = []
    every = pd.concat([rows, rows.assign(above="all")]).dropna(subset=["similarity"])
    for (pairing, above), some in every.groupby(["pairing", "above"]):
        values, groups = some["similarity"].to_numpy(), some["latent"].to_numpy()
        low, high = scored.interval(values, groups, np.mean, f"explanation-similarity {pairing} {above}")
        mean = {"similarity": values.mean(), "spread": some["similarity"].std(), "low": low, "high": high}
        mean |= {"row": "mean", "source": some["source"].iloc[0], "a": "", "b": "", "latent": -1, "counterpart": -1}
        found.append(mean | {"pairing": pairing, "above": above, "n": len(some)})
    return found


def _published(threshold: float) -> list[dict]:
    return [
        {
            **{"series": published.MODEL, "row": "mean", "source": "published", "cohort": "", "a": "1", "b": "2"},
            **{"latent": -1, "counterpart": -1, "pairing": pairing, "above": "all", "similarity": mean, "n": number},
            **{"threshold": threshold, "explainer": ""},
        }
        for pairing, (mean, number) in published.EXPLANATION_SIMILARITY.items()
    ]
