"""Reading what was stitched: the results of each pair of neighbours of a chain."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.published import CANONICAL, GEMMA, GEMMA_WIDTHS
from sae_stability.files import read_json, read_table

RUN = {"series": "this run", "source": "trained"}
WIDTHS = tuple(768 * 2**power for power in range(8))
"""Numbers of latents of the published SAEs, from small to large."""


def pairs(inputs: list[tuple[str, Path]]) -> dict[int, dict[str, Path]]:
    """The files of each pair, by number and by their name without ending.

    Args:
        inputs: (number, file) of each file of a pair. `NUMBER/a` or `NUMBER/b`: the match of the two SAEs, where they
            are of one cohort; a or b is the side of the large SAE. `NUMBER/overlap`: that cohort's table of pairs. Each
            is filed under the word after the stroke.
    """
    found: dict[int, dict[str, Path]] = {}
    for label, path in inputs:
        number, _, side = label.partition("/")
        found.setdefault(int(number), {})[side or Path(path).stem] = Path(path)
    return dict(sorted(found.items()))


def facts(files: dict[str, Path]) -> dict:
    """The `stitch.json` of a pair."""
    return read_json(files["stitch"])


def common(number: int, facts: dict) -> dict:
    """What every row of a pair says: the two SAEs as a figure names them (cohort and seed), and the threshold."""
    saes = {side: " ".join(Path(facts[side]).parts[-2:]).replace("seed-", "seed ") for side in ("small", "large")}
    return RUN | {"pair": number} | saes | {"threshold": facts["threshold"]}


def published(small: int, large: int) -> dict:
    """What every row of a published pair says, by the numbers of latents of its two SAEs."""
    saes = {"small": f"{small:,} latents", "large": f"{large:,} latents"}
    return {"series": CANONICAL, "source": "published", "pair": 0} | saes | {"threshold": 0.7}


def published_of_gemma() -> dict:
    """What every row of the published pair of Gemma 2 2B says."""
    return published(*GEMMA_WIDTHS) | {"series": GEMMA, "threshold": 0.4}


def rows(files: dict[str, Path], name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """A table of a pair."""
    return read_table(files[name], columns)[0]
