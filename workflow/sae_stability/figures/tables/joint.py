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
    *("live_measured", "fraction_same", "fraction_shared"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each latent of A, for the means of each floor's repetitions, and for the paper's Figure 1.

    Args:
        inputs: (any label, match file of a pair) and (any label, overlap folder of its cohort).

    Returns:
        Columns `COLUMNS`. `row` is "latent" or "mean". In a "mean" row `latent` is -1, the flags are False,
        `fraction_same` is the part of all latents with the same counterpart, and `fraction_shared` the shared part.
        `counterpart_alive` is about the counterpart by the decoder.

    Raises:
        StudyError: other inputs than these two, or a missing or damaged one.
    """
    match_files = [path for _, path in inputs if Path(path).suffix == ".parquet"]
    folders = [path for _, path in inputs if Path(path).suffix != ".parquet"]
    if len(match_files) != 1 or len(folders) != 1:
        raise StudyError("figure 'joint' needs one match file (.parquet) and one overlap folder")
    pairs, threshold = overlap.read(folders[0], "pairs", ["a", "b", "source", "latents", "n", *_MEANS])
    latents = _latents(match_files[0], threshold)
    live = pairs.loc[(pairs["source"] == "trained") & (pairs["latents"] == "live"), "n"]
    # In an SAE that was shown no activations, a match counts every latent as alive, and the overlap none as live.
    latents["live_measured"] = bool(live.any() or not latents["alive"].any())
    latents = latents[list(COLUMNS)]
    means = [
        *({"series": "this run", **mean} for mean in _floor_means(pairs)),
        {"series": published.MODEL, "source": "published", **published.JOINT},
    ]
    rows = [
        {
            **{"series": mean["series"], "row": "mean", "source": mean["source"], "cohort": "", "a": "", "b": ""},
            **{"latent": -1, **{key: mean[key] for key in ("cosine_decoder", "cosine_encoder")}},
            **{"same_counterpart": False, "shared": False, "alive": False, "counterpart_alive": False},
            **{"threshold": threshold, "live_measured": False},
            **{"fraction_same": mean["same_counterpart"], "fraction_shared": mean.get("shared", np.nan)},
        }
        for mean in means
    ]
    return overlap.with_published(latents, rows)


_MEANS = ("mean_cosine_decoder", "mean_cosine_encoder", "same_counterpart", "shared")


def _floor_means(pairs: pd.DataFrame) -> list[dict]:
    """The mean cosines and fractions of each repetition of both floors."""
    floors = pairs[pairs["source"].isin(("floor", "tied")) & (pairs["latents"] == "all")]
    renamed = floors[["source", *_MEANS]].rename(columns=lambda name: name.removeprefix("mean_"))
    return renamed.dropna().to_dict("records")


def _latents(path: Path, threshold: float) -> pd.DataFrame:
    """A row for each latent of A of a match file."""
    match, metadata = files.read_table(path)
    a, b = (str(metadata.get(side, {}).get("seed", "")) for side in "ab")
    rows = latent_rows(match, match["alive_b"].to_numpy(dtype=bool), (a, b), threshold)
    return rows.assign(cohort=str(metadata.get("a", {}).get("cohort", "")))


def latent_rows(match: pd.DataFrame, alive_b: np.ndarray, names: tuple[str, str], threshold: float) -> pd.DataFrame:
    """A row for each latent of A, with the columns `COLUMNS` but for `live_measured`.

    Args:
        match: columns of a match file over the latents of A.
        alive_b: (m,) bool, which latents of B fire.
        names: of A and B.
        threshold: the cosine from which a latent counts as shared.
    """
    decoder, encoder = match["counterpart_decoder"].to_numpy(), match["counterpart_encoder"].to_numpy()
    # Two unmatched sides (-1 and -1) are no common counterpart.
    same = (decoder == encoder) & (decoder >= 0)
    above = (match["cosine_decoder"] >= threshold) & (match["cosine_encoder"] >= threshold)
    rows = match[["latent", "cosine_decoder", "cosine_encoder", "alive"]].assign(
        series="this run",
        row="latent",
        source="trained",
        cohort="",
        a=names[0],
        b=names[1],
        same_counterpart=same,
        shared=same & above.to_numpy(),
        counterpart_alive=(decoder >= 0) & alive_b[np.maximum(decoder, 0)],
        threshold=threshold,
        fraction_same=np.nan,
        fraction_shared=np.nan,
    )
    return rows.astype({"alive": bool})
