"""Table of the figure `nearest`: how near each latent of a larger SAE is to one of a smaller SAE."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures import published
from sae_stability.figures.tables import stitch_files

COLUMNS = ("series", "source", "pair", "small", "large", "panel", "detail", "x", "value", "n", "threshold")
WIDTH = 0.05
"""Of a bin of cosines."""
FITTED_ABOVE = 0.5
"""The decoder cosine above which the paper fits a line."""


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Rows of five panels. All but `found` are of latents that fire.

    - `cosines`: share (`value`) of the large SAE's latents whose highest decoder cosine lies in the bin from `x`.
    - `summary`: the `mean`, the `median` and the standard `deviation` (`detail`) of these cosines.
    - `activations`: for a latent, `x` is its highest decoder cosine, and `value` the cosine of its activations with
      those of the latent that has it.
    - `fit`: R^2 of a straight line through those with a decoder cosine above 0.5; `n` latents.
    - `found`: the fraction of the large SAE's latents with a decoder cosine of at least the threshold; `detail` is
      "all" or "live". `x` is the ratio of the two numbers of latents. The source "floor": what random directions give.
    - `bias`: the part by which the error of the `small` or the `large` SAE (`detail`) grows with the other's decoder
      bias; `x` as for `found`.

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    parts = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        latents = stitch_files.rows(files, "insertions", ["max_cosine", "fired", "activation_cosine"])
        rows = pd.DataFrame([*_cosines(latents), *_activations(latents), *_found(latents, facts), *_bias(facts)])
        common = stitch_files.common(number, facts)
        parts.append(rows.assign(**{**common, "source": rows["source"].fillna(common["source"])}))
    found = pd.concat([*parts, pd.DataFrame(_published())], ignore_index=True).reindex(columns=list(COLUMNS))
    words = {"detail": found["detail"].fillna("")}
    return found.assign(**words).astype({"x": float, "value": float, "n": float})


def chance(cosine: float, n_small: int, d_model: int) -> float:
    """How likely one of `n_small` random directions has at least this cosine to a direction of that width."""
    from scipy.special import betainc  # late: it takes a while

    beyond = 0.5 * float(betainc((d_model - 1) / 2, 0.5, 1 - min(1.0, abs(cosine)) ** 2))
    one = beyond if cosine >= 0 else 1 - beyond
    return float(-np.expm1(n_small * np.log1p(-one))) if one < 1 else 1.0


def _cosines(latents: pd.DataFrame) -> list[dict]:
    live = latents.loc[latents["fired"] > 0, "max_cosine"]
    places = np.clip(np.floor((live / WIDTH).round(9)).astype(int), round(-1 / WIDTH), round(1 / WIDTH) - 1)
    counts = places.value_counts().sort_index()
    rows = [
        {"panel": "cosines", "x": round(place * WIDTH, 2), "value": count / len(live), "n": len(live)}
        for place, count in counts.items()
    ]
    numbers = {"mean": live.mean(), "median": live.median(), "deviation": live.std(ddof=0)}
    rows += [{"panel": "summary", "detail": name, "value": value, "n": len(live)} for name, value in numbers.items()]
    return rows


def _activations(latents: pd.DataFrame) -> list[dict]:
    both = latents.dropna(subset=["activation_cosine"]).query("fired > 0")
    pairs = zip(both["max_cosine"], both["activation_cosine"], strict=True)
    rows = [{"panel": "activations", "x": x, "value": value} for x, value in pairs]
    fitted = both[both["max_cosine"] > FITTED_ABOVE]
    r2 = np.nan
    if len(fitted) > 2 and fitted["max_cosine"].std() > 0 and fitted["activation_cosine"].std() > 0:
        r2 = np.corrcoef(fitted["max_cosine"], fitted["activation_cosine"])[0, 1] ** 2
    return [*rows, {"panel": "fit", "value": r2, "n": len(fitted)}]


def _found(latents: pd.DataFrame, facts: dict) -> list[dict]:
    row = {"panel": "found", "x": facts["n_large"] / facts["n_small"]}
    rows = []
    for detail, some in (("all", latents), ("live", latents[latents["fired"] > 0])):
        near = (some["max_cosine"] >= facts["threshold"]).mean() if len(some) else np.nan
        rows.append(row | {"detail": detail, "value": near, "n": len(some)})
    floor = chance(facts["threshold"], facts["n_small"], facts["d_model"])
    return [*rows, row | {"source": "floor", "detail": "all", "value": floor, "n": facts["n_large"]}]


def _bias(facts: dict) -> list[dict]:
    ratio, errors = facts["n_large"] / facts["n_small"], facts["mse_by_bias"]
    return [
        {"panel": "bias", "detail": side, "x": ratio, "value": errors[side]["other"] / errors[side]["own"] - 1}
        for side in ("small", "large")
        if errors[side]["own"] > 0
    ]


def _published() -> list[dict]:
    first = stitch_files.published(768, 1536)
    rows = [
        first | {"panel": "summary", "detail": name, "value": value} for name, value in published.HIGHEST_COSINE.items()
    ]
    rows.append(first | {"panel": "fit", "value": published.ACTIVATION_R2})
    near = {"panel": "found", "detail": "all"}
    rows += [
        stitch_files.published(3072, 3072) | near | {"x": 1.0, "value": value, "n": 3072}
        for value in published.SEEDS_WITH_COSINE
    ]
    for large, values in published.WITH_COSINE.items():
        for small, value in zip(stitch_files.WIDTHS, values, strict=False):
            rows.append(stitch_files.published(small, large) | near | {"x": large / small, "value": value, "n": large})
    for own, errors in published.ERROR_BY_BIAS.items():
        by_width = dict(zip(stitch_files.WIDTHS, errors, strict=True))
        for other, error in by_width.items():
            if other != own:
                small, large = sorted((own, other))
                place = {"panel": "bias", "detail": "small" if own == small else "large", "x": large / small}
                rows.append(stitch_files.published(small, large) | place | {"value": error / by_width[own] - 1})
    return rows
