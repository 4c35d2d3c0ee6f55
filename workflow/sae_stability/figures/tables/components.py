"""Table of the figure `components`: how the latents of a small and a large SAE correspond."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.published import CANONICAL, CENSUS
from sae_stability.figures.tables import stitch_files

CLASSES = ("one to one", "split", "several small", "novel", "small only")
COLUMNS = (
    *("series", "source", "pair", "small", "large", "kind", "n_small", "n_large", "components", "fraction"),
    *("largest_component_share", "threshold"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each number of small and large latents of a component; `fraction` is the part of all components.

    `kind` is one of `CLASSES`: a split has one latent of the small SAE and several of the large one. Published counts
    have no numbers of latents (-1), and do not tell "one to one" from "split": "one small".

    Args:
        inputs: as `stitch_files.pairs` takes them.
    """
    found = []
    for number, files in stitch_files.pairs(inputs).items():
        facts = stitch_files.facts(files)
        common = {**stitch_files.RUN, "pair": number, **stitch_files.saes(facts), "threshold": facts["threshold"]}
        common["largest_component_share"] = facts["largest_component_share"]
        for n_small, n_large, count in facts["census"]:
            sizes = {"n_small": n_small, "n_large": n_large, "components": count, "kind": _kind(n_small, n_large)}
            found.append(common | sizes | {"fraction": count / facts["components"]})
    published = {"series": CANONICAL, "source": "published", "pair": 0, "small": "768 latents"}
    published |= {"large": "1,536 latents", "n_small": -1, "n_large": -1, "threshold": 0.7}
    total = sum(CENSUS.values())
    found += [published | {"kind": kind, "components": n, "fraction": n / total} for kind, n in CENSUS.items()]
    return pd.DataFrame(found).reindex(columns=list(COLUMNS))


def _kind(n_small: int, n_large: int) -> str:
    if not n_large:
        return "small only"
    if n_small > 1:
        return "several small"
    return "novel" if not n_small else "one to one" if n_large == 1 else "split"
