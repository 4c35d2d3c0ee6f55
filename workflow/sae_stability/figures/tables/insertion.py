"""Table of the figure `insertion`: what each latent of a larger SAE, or of another seed's, brings to an SAE."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures.published import GEMMA_AUC, INSERTION_AUC
from sae_stability.figures.tables import overlap, stitch_files

COLUMNS = ("series", "source", "pair", "small", "large", "panel", "latent", "x", "value", "kind", "shared", "threshold")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each latent of the large SAE that fires, for each point of the ROC curve, and for its area.

    - `latent`: `x` is the highest decoder cosine with the small SAE, `value` the change of the small SAE's squared
      error when this latent alone is added, as a part of it. `kind` is "novel" or "reconstruction"; `shared` is
      "shared" or "unshared", by the study's threshold, where both SAEs are of one cohort, else "".
    - `roc`: `x` is the false, `value` the true positive rate of "lowers the error" at each cosine.
    - `auc`: the area is `value`, and `x` the cosine with the largest Youden's J; chance has the source "floor".

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    parts = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        rows = pd.concat([_latents(files, facts), _roc(files), _area(facts)])
        parts.append(rows.assign(**{**stitch_files.common(number, facts), "source": rows["source"]}))
    table = pd.concat([*parts, _published()], ignore_index=True).reindex(columns=list(COLUMNS))
    words = {name: table[name].fillna("") for name in ("kind", "shared")}
    return table.assign(latent=table["latent"].fillna(-1).astype(np.int64), **words).astype(
        {"x": float, "value": float}
    )


def _latents(files: dict[str, Path], facts: dict) -> pd.DataFrame:
    """What each latent of the large SAE that fires brings."""
    latents = stitch_files.rows(files, "insertions").query("fired > 0")
    start = stitch_files.rows(files, "path", ["mse"])["mse"].iloc[0]
    found = {"latent": latents["latent"], "x": latents["max_cosine"], "value": latents["delta_mse"] / start}
    rows = pd.DataFrame(found | {"kind": latents["kind"], "shared": ""}).assign(panel="latent", source="trained")
    if {"a", "b"} & set(files):
        rows["shared"] = np.where(_shared(files, facts)[rows["latent"]], "shared", "unshared")
    return rows


def _roc(files: dict[str, Path]) -> pd.DataFrame:
    roc = stitch_files.rows(files, "roc").dropna()
    curve = {"x": roc["false_positive_rate"], "value": roc["true_positive_rate"]}
    return pd.DataFrame(curve).assign(panel="roc", source="trained")


def _area(facts: dict) -> pd.DataFrame:
    """The area under the ROC curve, and that of chance."""
    area = {"source": "trained", "x": facts["youden_threshold"], "value": facts["auc"]}
    chance = {"source": "floor", "x": np.nan, "value": 0.5}
    return pd.DataFrame([area, chance]).astype({"x": float, "value": float}).assign(panel="auc")


def _published() -> pd.DataFrame:
    pairs = [(stitch_files.published(size // 2, size), area) for size, area in INSERTION_AUC.items()]
    pairs.append((stitch_files.published_of_gemma(), GEMMA_AUC))
    return pd.DataFrame(pair | {"panel": "auc", "value": area} for pair, area in pairs)


def _shared(files: dict[str, Path], facts: dict) -> np.ndarray:
    """(n_large,) bool: latents of the large SAE that are shared with the small one."""
    side = "a" if "a" in files else "b"
    # The chain has a threshold of its own; what is shared is so by the study's.
    _, threshold = overlap.read(files["overlap"].parent, "pairs", [])
    columns = [f"{what}_{rows}" for what in ("counterpart", "cosine") for rows in ("decoder", "encoder")]
    match = stitch_files.rows(files, side, columns)
    counterpart = match["counterpart_decoder"].to_numpy()
    same = (counterpart == match["counterpart_encoder"]) & (counterpart >= 0)
    shared = same & (match[["cosine_decoder", "cosine_encoder"]] >= threshold).all(axis=1)
    found = np.zeros(facts["n_large"], bool)
    found[np.flatnonzero(shared) if side == "a" else counterpart[shared]] = True
    return found
