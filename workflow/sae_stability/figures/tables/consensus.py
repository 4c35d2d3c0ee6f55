"""Table of the figure `consensus`: how much of what SAEs explain is explained by what several seeds found."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures.tables import overlap
from sae_stability.figures.tables.cohort_files import folder_of

COLUMNS = (
    *("series", "source", "cohort", "panel", "group", "x", "value", "low", "high"),
    *("n", "k", "l0", "ce", "threshold"),
)
_FILES = ("curve", "heldout", "levels", "triples")
_HELDOUT = {"shared": "consensus", "shared_members": "members", "shared_seed": "seed"}


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Four panels.

    - `curve`: FVU (`value`) of an SAE of `n` latents, its `k`, `l0` and `ce` (nats). `group` is "consensus", "random",
      "frequent" or "seed" (whole SAEs), `x` the level m. Of all but the consensus there is one of each seed: all
      numbers are means over these, `low` and `high` the least and the most.
    - `heldout`: fraction of latents that are shared with a seed that was left out, mean over seeds, `low` and `high`
      the least and the most. `group` is "consensus", "members" (of its groups, as they are), "seed" (all latents of
      one of the other seeds) or, with the source "floor", "floor" (random dictionaries); `n` is the mean number of
      latents.
    - `levels`: fraction of latents that are found in `x` seeds, their own among them; `group` is "found" or
      "independent" (what independent sharing in each pair would give); `n` is the number of groups.
    - `triples`: of `n` paths over three seeds, the parts "closed", "independent" (closed, if pairs were independent)
      and "contradicted"; "error" is the rate of wrong matches behind the contradictions.

    Args:
        inputs: (cohort, folder of overlap tables) and (cohort, file) of the tables of the stage `consensus`.

    Raises:
        StudyError: an input is missing or damaged.
    """
    found = {Path(path).stem: Path(path) for _, path in inputs if Path(path).suffix == ".parquet"}
    if missing := [name for name in _FILES if name not in found]:
        raise StudyError(f"figure 'consensus' needs the table {missing[0]}.parquet of a cohort in consensus/COHORT/")
    tables = {name: files.read_table(found[name])[0] for name in _FILES}
    pairs, threshold = overlap.read(folder_of(inputs), "pairs", ["source", "latents", "shared"])
    parts = [_curve(tables["curve"]), _heldout(tables["heldout"])]
    parts += [_floor(pairs, tables["heldout"]), _levels(tables["levels"]), _triples(tables["triples"])]
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    rows["source"] = np.where(rows["group"] == "floor", "floor", "trained")
    rows = rows.assign(series="this run", cohort=inputs[0][0], threshold=threshold)
    return rows.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(("low", "high", "k", "l0", "ce"), float))


def _curve(curve: pd.DataFrame) -> pd.DataFrame:
    groups = curve.groupby(["series", "m"], sort=False)
    rows = groups[["n_latents", "k", "fvu", "l0", "ce"]].mean()
    rows["low"], rows["high"] = groups["fvu"].min(), groups["fvu"].max()
    rows.loc[groups.size() == 1, ["low", "high"]] = np.nan
    renamed = rows.reset_index().rename(columns={"series": "group", "m": "x", "fvu": "value", "n_latents": "n"})
    return renamed.assign(panel="curve")


def _heldout(heldout: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for m, level in heldout.groupby("m"):
        for column, group in _HELDOUT.items():
            values = level[column]
            rows.append((group, m, values.mean(), values.min(), values.max(), level["n_latents"].mean()))
    return pd.DataFrame(rows, columns=["group", "x", "value", "low", "high", "n"]).assign(panel="heldout")


def _floor(pairs: pd.DataFrame, heldout: pd.DataFrame) -> pd.DataFrame:
    floors = pairs.loc[(pairs["source"] == "floor") & (pairs["latents"] == "all"), "shared"]
    if floors.empty:
        return pd.DataFrame()
    rows = pd.DataFrame({"x": sorted(heldout["m"].unique())})
    return rows.assign(
        panel="heldout", group="floor", value=floors.mean(), low=floors.min(), high=floors.max(), n=np.nan
    )


def _levels(levels: pd.DataFrame) -> pd.DataFrame:
    total = levels["latents"].sum()
    parts = [
        levels.assign(group=group, value=levels[column] / total)
        for group, column in (("found", "latents"), ("independent", "expected_latents"))
    ]
    return pd.concat(parts).rename(columns={"n_seeds": "x", "groups": "n"}).assign(panel="levels")


def _triples(triples: pd.DataFrame) -> pd.DataFrame:
    sums = triples[["paths", "closed", "contradicted", "expected_closed"]].sum()
    paths = sums["paths"]
    triangles = sums["closed"] + sums["contradicted"]
    values = {
        "closed": sums["closed"] / paths if paths else np.nan,
        "independent": sums["expected_closed"] / paths if paths else np.nan,
        "contradicted": sums["contradicted"] / paths if paths else np.nan,
        "error": 1 - (sums["closed"] / triangles) ** (1 / 3) if triangles else np.nan,
    }
    rows = pd.DataFrame({"group": list(values), "value": list(values.values())})
    return rows.assign(panel="triples", x=np.nan, n=paths)
