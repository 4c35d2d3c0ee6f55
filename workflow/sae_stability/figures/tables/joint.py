"""Table of the figure `joint`: matched decoder and encoder cosine of every latent of one pair."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import published
from sae_stability.figures.tables import overlap

COLUMNS = (
    *("series", "row", "source", "cohort", "a", "b", "latent", "cosine_decoder", "cosine_encoder"),
    *("same_counterpart", "shared", "alive", "counterpart_alive", "threshold"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """One row a latent of A, and one a mean: of the random floor (a repetition each) and of the paper's Figure 1.

    Args:
        inputs: two pairs, (any label, match file of the pair) and (any label, overlap folder of its cohort).

    Returns:
        Columns `COLUMNS`. `row` is "latent" or "mean"; in a "mean" row `latent` is -1 and the flags are False.
        `counterpart_alive` is about the counterpart by the decoder.
    """
    match_files = [path for _, path in inputs if Path(path).suffix == ".parquet"]
    folders = [path for _, path in inputs if Path(path).suffix != ".parquet"]
    if len(match_files) != 1 or len(folders) != 1:
        raise StudyError("figure 'joint' needs one match file (.parquet) and one overlap folder")
    pairs, threshold = overlap.read(
        folders[0], "pairs", ["a", "b", "source", "latents", "mean_cosine_decoder", "mean_cosine_encoder"]
    )
    latents = _latents(match_files[0], threshold)
    means = [*_floor_means(pairs), published.JOINT]
    sources = [("this run", "floor")] * (len(means) - 1) + [(published.MODEL, "published")]
    rows = [
        {
            **{"series": series, "row": "mean", "source": source, "cohort": "", "a": "", "b": "", "latent": -1},
            **{key: mean[key] for key in ("cosine_decoder", "cosine_encoder")},
            **{"same_counterpart": False, "shared": False, "alive": False, "counterpart_alive": False},
            "threshold": threshold,
        }
        for (series, source), mean in zip(sources, means, strict=True)
    ]
    return overlap.with_published(latents, rows)


def _floor_means(pairs: pd.DataFrame) -> list[dict]:
    floor = pairs[(pairs["source"] == "floor") & (pairs["latents"] == "all")]
    renamed = floor[["mean_cosine_decoder", "mean_cosine_encoder"]].rename(columns=lambda name: name[5:])
    return renamed.dropna().to_dict("records")


def _latents(path: Path, threshold: float) -> pd.DataFrame:
    match, metadata = files.read_table(path)
    decoder, encoder = match["counterpart_decoder"].to_numpy(), match["counterpart_encoder"].to_numpy()
    # Two unmatched sides (-1 and -1) are no common counterpart.
    same = (decoder == encoder) & (decoder >= 0)
    above = (match["cosine_decoder"] >= threshold) & (match["cosine_encoder"] >= threshold)
    alive_b = match["alive_b"].to_numpy(dtype=bool)
    a, b = metadata.get("a", {}), metadata.get("b", {})
    rows = match[["latent", "cosine_decoder", "cosine_encoder", "alive"]].assign(
        series="this run",
        row="latent",
        source="trained",
        cohort=str(a.get("cohort", "")),
        a=str(a.get("seed", "")),
        b=str(b.get("seed", "")),
        same_counterpart=same,
        shared=same & above.to_numpy(),
        counterpart_alive=(decoder >= 0) & alive_b[np.maximum(decoder, 0)],
        threshold=threshold,
    )
    return rows.astype({"alive": bool})[list(COLUMNS)]
