"""Table of the figure `interpolation`: error and L0 on the way from the smallest SAE of a chain to the largest."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.published import CANONICAL, CHAIN
from sae_stability.figures.tables import stitch_files

COLUMNS = (
    *("series", "source", "pair", "small", "large", "step", "phase", "n_latents", "mse", "fvu", "l0"),
    *("x", "relative_mse", "relative_l0", "threshold", "bias"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each step of each pair; `x`, `relative_mse` and `relative_l0` are ratios to the chain's first SAE.

    `bias` is the rule for the decoder bias of stitched SAEs. Published values are those of whole SAEs: the mean squared
    error and L0 of the paper's table 2.

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    parts = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        steps = stitch_files.rows(files, "path", ["step", "phase", "n_latents", "mse", "fvu", "l0"])
        common = stitch_files.common(number, facts) | {"bias": facts["bias"]}
        parts.append(_relative(steps, first=(parts or [steps])[0]).assign(**common))
    whole = pd.DataFrame([{"n_latents": size, "mse": mse, "l0": l0} for size, (mse, l0) in CHAIN.items()])
    given = {
        "series": CANONICAL,
        "source": "published",
        "pair": 0,
        "step": 0,
        "phase": "whole",
        "threshold": 0.7,
        "bias": "",
    }
    parts.append(_relative(whole, first=whole).assign(**given, small="", large=""))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS))


def _relative(steps: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    ratios = {"x": "n_latents", "relative_mse": "mse", "relative_l0": "l0"}
    return steps.assign(**{name: steps[column] / first[column].iloc[0] for name, column in ratios.items()})
