"""Table of the figure `swaps`: what swapping a component changes, and what adding latents of one kind changes."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import stitch_files

COLUMNS = ("series", "source", "pair", "small", "large", "panel", "detail", "x", "value", "n", "threshold")


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Rows of two panels. Changes are parts of the small SAE's error, or of its L0.

    - `swap`: the change (`value`) of the error or of L0 (`detail`: "error", "l0") when one component with latents of
      both SAEs alone is swapped; `n` latents of both. Published values are medians over components.
    - `added`: the change of the error after latents of one kind (`detail`: "novel", "reconstruction") are added one by
      one; `x` is the part of these that are there, of `n`. Of published curves there are the end (`x` 1) and, for novel
      latents of GPT-2, the lowest value, whose `x` is not known (NaN).

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    parts = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        path = stitch_files.rows(files, "path", ["phase", "mse", "l0"])
        start = path.iloc[0]
        parts += [
            rows.assign(**stitch_files.common(number, facts))
            for rows in (
                *_swaps(stitch_files.rows(files, "swaps"), start),
                _added("novel", path.loc[path["phase"] == "novel", "mse"], start["mse"]),
                _added("reconstruction", stitch_files.rows(files, "reconstruction", ["mse"])["mse"], start["mse"]),
            )
        ]
    found = pd.concat([*parts, pd.DataFrame(_published())], ignore_index=True).reindex(columns=list(COLUMNS))
    return found.astype({"x": float, "value": float, "n": float})


def _swaps(swaps: pd.DataFrame, start: pd.Series) -> list[pd.DataFrame]:
    n = swaps["n_small"] + swaps["n_large"]
    changes = {"error": swaps["delta_mse"] / start["mse"], "l0": swaps["delta_l0"] / start["l0"]}
    return [pd.DataFrame({"panel": "swap", "detail": name, "value": value, "n": n}) for name, value in changes.items()]


def _added(kind: str, errors: pd.Series, start: float) -> pd.DataFrame:
    """From no latent of the kind to all of them."""
    values = np.append(0.0, errors / start - 1)
    n = len(errors)
    return pd.DataFrame({"panel": "added", "detail": kind, "x": np.arange(n + 1) / max(n, 1), "value": values, "n": n})


def _published() -> list[dict]:
    rows = []
    for large, medians in published.SWAPS.items():
        for name, value in zip(("error", "l0"), medians, strict=True):
            rows.append(stitch_files.published(large // 2, large) | {"panel": "swap", "detail": name, "value": value})
    novel, other = ({"panel": "added", "detail": kind} for kind in ("novel", "reconstruction"))
    for large, values in published.NOVEL_ADDED.items():
        for x, value in zip((1.0, np.nan), values, strict=True):
            rows.append(stitch_files.published(large // 2, large) | novel | {"x": x, "value": value})
    for large, value in published.RECONSTRUCTION_ADDED.items():
        rows.append(stitch_files.published(large // 2, large) | other | {"x": 1.0, "value": value})
    rows.append(stitch_files.published_of_gemma() | novel | {"x": 1.0, "value": published.GEMMA_NOVEL_ADDED})
    return rows
