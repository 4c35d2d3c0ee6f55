"""Explanations of an SAE's latents, and their scores."""

from pathlib import Path

import pandas as pd

from sae_stability.explorer.chunks import plain
from sae_stability.files import read_table


def explanations(path: Path, explainer: str) -> dict:
    """What one judge says of an SAE's latents: `rows`, latent -> explanation, status, reason."""
    table, _ = read_table(path, ["latent", "explanation", "status", "reason"])
    rows = {int(row.latent): [row.explanation, row.status, row.reason] for row in table.itertuples()}
    return {"explainer": explainer, "rows": rows}


def scores(folder: Path, explainer: str, scorer: str, seed: int) -> list[dict]:
    """The scores of an SAE's latents, one entry for each kind of negatives.

    Each has `chance_95` (of 100 latents with another's explanation, 95 score at most this) and `rows`, latent -> mean
    balanced accuracy over draws, the lowest and the highest draw, the mean with another latent's explanation.
    """
    table, _ = read_table(folder / f"seed-{seed}.parquet")
    summary, _ = read_table(folder / "summary.parquet")
    table = table[table["status"] == "ok"]
    found = []
    for negatives, some in table.groupby("negatives", sort=True):
        own = some[some["explained_by"] != "shuffled"].groupby("latent")["balanced_accuracy"]
        shuffled = some[some["explained_by"] == "shuffled"].groupby("latent")["balanced_accuracy"].mean()
        of_seed = summary[(summary["seed"] == seed) & (summary["negatives"] == negatives)]
        chance = of_seed.loc[of_seed["explained_by"] != "shuffled", "chance_95"]
        rows = pd.DataFrame({"mean": own.mean(), "low": own.min(), "high": own.max()}).join(shuffled.rename("chance"))
        found.append(
            {
                "explainer": explainer,
                "scorer": scorer,
                "negatives": negatives,
                "chance_95": plain(chance.iloc[0]) if len(chance) else None,
                "rows": {
                    int(row.Index): [plain(row.mean), plain(row.low), plain(row.high), plain(row.chance)]
                    for row in rows.itertuples()
                },
            }
        )
    return found
