"""Pairs of matched latents that both have a score."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures.tables import overlap, scored


def pairs(inputs: list[tuple[str, Path]], rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each latent of the first SAE and its counterpart by the decoder in another one.

    Args:
        inputs: among others, (any label, path) of the overlap folder and of the first SAE's matches.
        rows: what `scored.latents` returned for them.

    Returns:
        Columns `cohort`, `a`, `b` (seeds, as text), `latent`, `counterpart`, `score`, `score_counterpart`, `shared`,
        `mean_cosine` (of the matched decoder and encoder cosine), `threshold`, `explainer`, `scorer`, `negatives`.

    Raises:
        StudyError: no match is given, or one is damaged.
    """
    least = threshold(inputs)
    own = rows[rows["explained_by"] == "own"]
    parts = []
    for path in (Path(path) for _, path in inputs if Path(path).parts[-3:-2] == ("matches",)):
        a, b = map(int, path.stem.split("-"))
        first, other = own[own["seed"] == a], own[own["seed"] == b]
        both = first.merge(other, on="first_latent", suffixes=("", "_counterpart"))
        parts.append(_with_cosines(both, path, least).assign(a=str(a), b=str(b)))
    if not parts:
        raise StudyError("this figure needs the first SAE's matches in matches/COHORT/")
    found = pd.concat(parts, ignore_index=True).rename(columns={"latent_counterpart": "counterpart"})
    names = ["cohort", "a", "b", "latent", "counterpart", "score", "score_counterpart", "shared", "mean_cosine"]
    return found.assign(threshold=least)[[*names, "threshold", "explainer", "scorer", "negatives"]]


def threshold(inputs: list[tuple[str, Path]]) -> float:
    """The least cosine of a shared pair."""
    return overlap.read(scored.folder_of(inputs), "latents", ["latent"])[1]


def _with_cosines(both: pd.DataFrame, path: Path, threshold: float) -> pd.DataFrame:
    columns = ["counterpart_decoder", "counterpart_encoder", "cosine_decoder", "cosine_encoder"]
    match = files.read_table(path, columns)[0].iloc[both["latent"].to_numpy()]
    cosines = match[["cosine_decoder", "cosine_encoder"]].to_numpy()
    same = (match["counterpart_decoder"] == match["counterpart_encoder"]).to_numpy()
    return both.assign(mean_cosine=cosines.mean(axis=1), shared=same & np.all(cosines >= threshold, axis=1))
