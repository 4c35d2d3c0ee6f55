"""Table of the figure `interpolation`: error and L0 on the way from the smallest SAE of a chain to the largest."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.published import CHAIN, GEMMA_PATH, HIGHEST_L0, WITH_COSINE
from sae_stability.figures.tables import stitch_files

COLUMNS = (
    *("series", "source", "pair", "small", "large", "step", "phase", "n_latents", "mse", "fvu", "l0"),
    *("x", "relative_mse", "relative_l0", "threshold", "bias"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each step of each pair; `x`, `relative_mse` and `relative_l0` are ratios to the chain's first SAE.

    `bias` is the rule for the decoder bias of stitched SAEs. Published values of GPT-2 are those of whole SAEs (`phase`
    "whole"; the mean squared error and L0 of the paper's table 2), and L0 with all novel latents ("novel"). Of Gemma
    2 2B there are errors alone. What is not known is NaN.

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    parts = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        steps = stitch_files.rows(files, "path", ["step", "phase", "n_latents", "mse", "fvu", "l0"])
        common = stitch_files.common(number, facts) | {"bias": facts["bias"]}
        parts.append(_relative(steps, first=(parts or [steps])[0]).assign(**common))
    gemma = pd.DataFrame(GEMMA_PATH, columns=["phase", "n_latents", "mse"]).assign(l0=float("nan"))
    for rows, pair in ((_of_gpt2(), stitch_files.published(768, 12_288)), (gemma, stitch_files.published_of_gemma())):
        said = pair | {"step": 0, "bias": "", "small": "", "large": ""}
        parts.append(_relative(rows, first=rows).assign(**said))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS))


def _of_gpt2() -> pd.DataFrame:
    """Whole SAEs, and the highest L0 between two of them."""
    rows = [("whole", size, mse, l0) for size, (mse, l0) in CHAIN.items()]
    for large, l0 in HIGHEST_L0.items():
        novel = round((1 - WITH_COSINE[large][-1]) * large)
        rows.append(("novel", large // 2 + novel, float("nan"), l0))
    return pd.DataFrame(rows, columns=["phase", "n_latents", "mse", "l0"])


def _relative(steps: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    ratios = {"x": "n_latents", "relative_mse": "mse", "relative_l0": "l0"}
    return steps.assign(**{name: steps[column] / first[column].iloc[0] for name, column in ratios.items()})
