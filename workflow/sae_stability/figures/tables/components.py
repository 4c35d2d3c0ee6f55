"""Table of the figure `components`: how the latents of a small and a large SAE correspond."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.published import CENSUS
from sae_stability.figures.tables import stitch_files

CLASSES = ("one to one", "split", "several small", "novel", "small only")
COLUMNS = (
    *("series", "source", "pair", "small", "large", "latents", "kind", "n_small", "n_large", "components", "fraction"),
    *("largest_component_share", "threshold"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each number of small and large latents of a component; `fraction` is the part of all components.

    `kind` is one of `CLASSES`: a split has one latent of the small SAE and several of the large one. `latents` is "all"
    or "live": components of the latents that fire alone. Published counts are of all latents.

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    found = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        common = stitch_files.common(number, facts)
        for latents, counts in (("all", facts), ("live", facts["live"])):
            if counts is not None:
                share = {"latents": latents, "largest_component_share": counts["largest_component_share"]}
                found += _rows(counts["census"], common | share)
    found += _rows(CENSUS, stitch_files.published(768, 1536) | {"latents": "all"})
    return pd.DataFrame(found).reindex(columns=list(COLUMNS))


def _rows(census: list, common: dict) -> list[dict]:
    total = sum(count for _, _, count in census)
    return [
        common
        | {"kind": _kind(n_small, n_large), "n_small": n_small, "n_large": n_large}
        | {"components": count, "fraction": count / total}
        for n_small, n_large, count in census
    ]


def _kind(n_small: int, n_large: int) -> str:
    if not n_large:
        return "small only"
    if n_small > 1:
        return "several small"
    return "novel" if not n_small else "one to one" if n_large == 1 else "split"
