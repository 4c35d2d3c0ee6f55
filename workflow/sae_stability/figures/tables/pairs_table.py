"""Table of the figure `pairs-table`: a pair of matched latents a bin of cosines, with both explanations."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability import files
from sae_stability.figures import published
from sae_stability.figures.tables import partners, scored

BINS = (0.0, 0.2, 0.4, 0.6, 0.8)
# Bins that start at this cosine or above take the pair whose scores have the largest sum; lower ones the largest
# difference, first SAE's minus the other's.
HIGH = 0.6

COLUMNS = (
    *("series", "source", "cohort", "a", "b", "bin", "n", "mean_score", "mean_score_counterpart", "latent"),
    *("counterpart", "mean_cosine", "shared", "score", "score_counterpart", "chance", "threshold"),
    *("explanation", "explanation_counterpart", "explainer", "scorer", "negatives"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """One pair of each bin of mean matched cosine, chosen by its scores as in the paper's Table 1, and that table.

    Args:
        inputs: those of `score_partner.table`.

    Returns:
        Columns `COLUMNS`. `bin` is a bin's lower end; cosines below 0 are in the lowest. `n`, `mean_score` and
        `mean_score_counterpart` are of all pairs of the bin. The row of source "floor" holds the mean score by
        other latents' explanations. The paper's explanations are not kept here.
    """
    rows = scored.latents(inputs)
    pairs = partners.pairs(inputs, rows)
    pairs["bin"] = np.array(BINS)[np.clip(np.searchsorted(BINS, pairs["mean_cosine"], side="right") - 1, 0, None)]
    said = {seed: _said(path) for seed, path in scored.of_seeds(inputs, "explanations").items()}
    found = []
    for low, some in pairs.groupby("bin"):
        sign = 1 if low >= HIGH else -1
        chosen = some.loc[(some["score"] + sign * some["score_counterpart"]).idxmax()].to_dict()
        texts = {
            "explanation": said[int(chosen["a"])].get(chosen["latent"], ""),
            "explanation_counterpart": said[int(chosen["b"])].get(chosen["counterpart"], ""),
        }
        means = {"mean_score": some["score"].mean(), "mean_score_counterpart": some["score_counterpart"].mean()}
        found.append(chosen | texts | means | {"n": len(some), "series": "this run", "source": "trained"})
    chance = scored.chance_row(rows)
    kept = {
        name: chance[name] for name in ("cohort", "series", "source", "n", "score", "explainer", "scorer", "negatives")
    }
    blank = {"bin": np.nan, "latent": -1, "counterpart": -1, "shared": False, "a": "", "b": ""}
    blank |= {"explanation": "", "explanation_counterpart": ""}
    run = pd.DataFrame([*found, blank | kept], columns=COLUMNS).assign(chance=chance["high"])
    run["threshold"] = partners.threshold(inputs)
    return pd.concat([run, pd.DataFrame(_published(), columns=COLUMNS)], ignore_index=True)


def _said(path: Path) -> dict[int, str]:
    """The explanation of each latent that has one."""
    table, _ = files.read_table(path, ["latent", "explanation", "status"])
    good = table[table["status"] == scored.OK]
    return dict(zip(good["latent"].tolist(), good["explanation"].tolist(), strict=True))


def _published() -> list[dict]:
    blank = dict.fromkeys(("cohort", "explanation", "explanation_counterpart", "explainer", "scorer", "negatives"), "")
    return [
        {
            **blank,
            **{"series": published.MODEL, "source": "published", "a": "1", "b": "2", "n": 0, "shared": False},
            **{
                "bin": max(low for low in BINS if low <= cosine),
                "mean_cosine": cosine,
                "threshold": published.THRESHOLD,
            },
            **{"latent": latent, "counterpart": counterpart, "score": score, "score_counterpart": other},
        }
        for latent, counterpart, cosine, score, other in published.PAIRS
    ]
