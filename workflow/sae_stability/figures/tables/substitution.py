"""Table of the figure `substitution`: what a latent's counterpart in another SAE is worth in its place."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures.tables.over_pairs import read_pairs, with_intervals

BINS = np.round(np.arange(-1, 1.01, 0.1), 1)
COLUMNS = (
    *("series", "source", "cohort", "a", "b", "panel", "group", "x", "value", "n", "mean", "low", "high", "threshold"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Four panels for each pair, random latents with the source "floor"; `mean`, `low` and `high` are over pairs.

    - `cosine`: the quality, 1 - swap / ablation with both summed over the latents of a bin of the matched decoder
      cosine; `x` is the middle of the bin, `n` its latents, `group` is "shared", "unshared" or "random latent".
    - `all`: the same over all latents of a group; `x` is NaN.
    - `curve`: FVU (`value`) after a part `x` of the matched latents is changed, the best matched first; `group` is
      "swap", "ablation" or "floor".
    - `area`: the mean of its rise over FVU at the start, over all x.

    Args:
        inputs: (cohort, file) of each table of its pairs; others are passed over.
    """
    cohort = inputs[-1][0]
    latents, curves = read_pairs(inputs, ".parquet"), read_pairs(inputs, "-curve.parquet")
    rows = []
    for (a, b), pair in latents.groupby(["a", "b"]):
        # A latent that never fires says nothing about its counterpart.
        fired = pair[pair["fired"] > 0]
        bins = (BINS[:-1] + 0.05)[np.digitize(fired["cosine_decoder"], BINS[1:-1])].round(2)
        for group, some, change in (
            ("shared", fired["shared"], "swap"),
            ("unshared", ~fired["shared"], "swap"),
            ("random latent", fired["shared"] | True, "floor"),
        ):
            chosen = fired[some]
            rows.append((a, b, "all", group, np.nan, _quality(chosen, change), len(chosen)))
            for x, part in chosen.groupby(bins[some.to_numpy()]):
                rows.append((a, b, "cosine", group, x, _quality(part, change), len(part)))
    for (a, b, change), curve in curves.groupby(["a", "b", "change"]):
        fvu, n = curve["fvu"].to_numpy(), len(latents[(latents["a"] == a) & (latents["b"] == b)])
        rows += [(a, b, "curve", change, x, y, n) for x, y in zip(curve["fraction"], fvu, strict=True)]
        rows.append((a, b, "area", change, np.nan, np.trapezoid(fvu - fvu[0], curve["fraction"]), n))
    found = pd.DataFrame(rows, columns=["a", "b", "panel", "group", "x", "value", "n"])
    found = with_intervals(found, ["panel", "group", "x"]).astype({"a": str, "b": str})
    source = np.where(found["group"].isin(("random latent", "floor")), "floor", "trained")
    found = found.assign(series="this run", source=source, cohort=cohort, threshold=float(latents["threshold"].iloc[0]))
    return found[list(COLUMNS)]


def _quality(latents: pd.DataFrame, change: str) -> float:
    ablation = latents["ablation"].sum()
    return 1 - latents[change].sum() / ablation if ablation > 0 else np.nan
