"""Table of the figure `score-partner`: scores of the first SAE's latents beside those of their counterparts."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures.tables import partners, scored
from sae_stability.random_streams import stream

COLUMNS = (
    *(
        "series",
        "row",
        "source",
        "pairing",
        "cohort",
        "a",
        "b",
        "latent",
        "counterpart",
        "score",
        "score_counterpart",
        "shared",
    ),
    *("mean_cosine", "correlation", "low", "high", "n", "chance", "threshold", "explainer", "scorer", "negatives"),
)


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each pair of matched latents that both have a score, and the rank correlations.

    Args:
        inputs: (any label, path) of a cohort's overlap folder, the explanations and scores of each of its SAEs, and the
            first SAE's matches.

    Returns:
        Columns `COLUMNS`. Rows "correlation" hold Spearman's rank correlation over `n` pairs, with its 95 % interval
        over the first SAE's latents, for `pairing` "matched", and "shuffled": with another latent's counterpart.
        `chance`: of 100 scores by another latent's explanation, 95 are at most this.
    """
    rows = scored.latents(inputs)
    pairs = partners.pairs(inputs, rows)
    chance = scored.chance_row(rows)["high"]
    correlations = []
    scores, groups = pairs[["score", "score_counterpart"]].to_numpy(), pairs["latent"].to_numpy()
    order = np.random.default_rng(stream("other latents' counterparts", len(pairs))).permutation(len(pairs))
    shuffled = np.column_stack([scores[:, 0], scores[order, 1]])
    for pairing, values in (("matched", scores), ("shuffled", shuffled)):
        low, high = scored.interval(values, groups, scored.correlation, f"score-partner {pairing}")
        source = "trained" if pairing == "matched" else "floor"
        found = {
            "row": "correlation",
            "source": source,
            "pairing": pairing,
            "correlation": scored.correlation(values),
            "n": len(pairs),
        }
        correlations.append(found | {"low": low, "high": high, "latent": -1, "counterpart": -1, "shared": False})
    pairs = pairs.assign(
        row="pair", source="trained", pairing="matched", correlation=np.nan, low=np.nan, high=np.nan, n=1
    )
    whole = pd.concat([pairs, pd.DataFrame(correlations)], ignore_index=True).assign(series="this run", chance=chance)
    common = scored.one_row(rows)
    whole = whole.assign(**{name: common[name] for name in ("cohort", "explainer", "scorer", "negatives")})
    whole["threshold"] = partners.threshold(inputs)
    return whole.astype({"shared": bool})[list(COLUMNS)]
