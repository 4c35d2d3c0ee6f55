"""Table of the figure `firing-similarity`: how often a latent fires, beside its mean matched cosine."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import published
from sae_stability.figures.tables import overlap, scored

COLUMNS = (
    *("series", "row", "source", "cohort", "seed", "latent", "mean_cosine", "fired", "n_rows", "shared_with"),
    *("n_others", "threshold"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The latents of the first SAE, and the mean cosine of each repetition of the random floor.

    Args:
        inputs: (any label, path) of a cohort's overlap folder, and (cohort, evaluation JSON) of each SAE.

    Returns:
        Columns `COLUMNS`. `row` is "latent", "mean" (of the floor), or, for the ends of the paper's clusters, "low" and
        "high". `fired` counts held-out rows, of `n_rows`; `mean_cosine` is the mean over the other SAEs of the mean of
        the matched decoder and encoder cosine.

    Raises:
        StudyError: a missing or damaged table, or SAEs that were shown no activations.
    """
    folder, places = scored.folder_of(inputs), [path for _, path in inputs if Path(path).suffix == ".json"]
    columns = ["cohort", "seed", "latent", "mean_cosine", "rate", "shared_with", "n_others"]
    latents, threshold = overlap.read(folder, "latents", columns)
    n_rows = int(files.read_json(places[0])["n_rows"] or 0)
    if not n_rows:
        raise StudyError("figure firing-similarity: the SAEs were shown no activations; give their cohort a pass")
    base = latents[latents["seed"] == latents["seed"].min()][columns]
    base = base.assign(fired=np.rint(base["rate"] * n_rows).astype(int), row="latent", source="trained")
    pairs, _ = overlap.read(folder, "pairs", ["source", "latents", "mean_cosine_decoder", "mean_cosine_encoder"])
    floors = pairs[(pairs["source"] == "floor") & (pairs["latents"] == "all")]
    means = floors[["mean_cosine_decoder", "mean_cosine_encoder"]].mean(axis=1).dropna()
    blank = {"row": "mean", "source": "floor", "cohort": base["cohort"].iloc[0]}
    blank |= dict.fromkeys(("seed", "latent", "fired", "shared_with", "n_others"), -1)
    rows = [base, pd.DataFrame([blank | {"mean_cosine": mean} for mean in means])]
    whole = pd.concat(rows, ignore_index=True).assign(series="this run", n_rows=n_rows, threshold=threshold)
    return overlap.with_published(whole[list(COLUMNS)], _published())


def _published() -> list[dict]:
    return [
        {
            **{"series": published.MODEL, "row": row, "source": "published", "cohort": "", "seed": 1, "latent": -1},
            **{"mean_cosine": cosine, "fired": fired, "n_rows": published.FIRING_ROWS, "shared_with": sharers},
            **{"n_others": published.SEEDS - 1, "threshold": published.THRESHOLD},
        }
        for sharers, ends in published.FIRING_CLUSTERS.items()
        for row, cosine, fired in zip(("low", "high"), *ends, strict=True)
    ]
