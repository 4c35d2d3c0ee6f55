"""Table of the figure `functional`: do matched latents fire together?"""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.figures.tables import cohort_files, overlap
from sae_stability.figures.tables.over_pairs import with_intervals

COLUMNS = (
    *("series", "source", "cohort", "a", "b", "latents", "statistic", "x", "value", "n", "mean", "low", "high"),
    "threshold",
)
STATISTICS = ("correlation", "jaccard")
BINS = np.round(np.arange(-1, 1.01, 0.1), 1)  # of the matched decoder cosine


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """Mean correlation and Jaccard index of matched latents' activations, by matched cosine and over all.

    Args:
        inputs: (any label, overlap folder) of one cohort, and (any label, match file) and (any label, table of
            co-firing) of each of its pairs.

    Returns:
        Columns `COLUMNS`; latents are matched by their decoder rows.

        - source "trained": rows with an `x` are means over the latents whose matched cosine lies within 0.05 of it,
          and rows without are means over all that count: `latents` is "all", "live" (both fired), "shared" or
          "unshared" (of the live ones).
        - source "floor": the same counterparts in random order.
        - statistic "rank correlation": Spearman's, of cosine and correlation, over live latents.

        Where one of the two never fired, both statistics count as 0 among "all". `n` counts latents; `mean`, `low` and
        `high` are over the pairs.

    Raises:
        StudyError: a missing or damaged table, or a pair without one of its two files.
    """
    pairs, threshold = overlap.read(cohort_files.folder_of(inputs), "pairs", ["cohort"])
    matches, cofiring = (cohort_files.of_pairs(inputs, stage) for stage in ("matches", "cofiring"))
    rows = []
    for seeds, match in matches.items():
        rows += [(*seeds, *row) for row in _pair_rows(match, cofiring[seeds], threshold)]
    columns = ["a", "b", "source", "latents", "statistic", "x", "value", "n"]
    found = with_intervals(pd.DataFrame(rows, columns=columns), ["source", "latents", "statistic", "x"])
    found = found.assign(series="this run", cohort=pairs["cohort"].iloc[0], threshold=threshold)
    return found.astype({"a": str, "b": str})[list(COLUMNS)]


def _pair_rows(match: pd.DataFrame, cofiring: pd.DataFrame, threshold: float) -> list[tuple]:
    """Rows (source, latents, statistic, x, value, n) of one pair."""
    by_latent = match.set_index("latent")
    same = by_latent["counterpart_decoder"] == by_latent["counterpart_encoder"]
    cosines = by_latent[["cosine_decoder", "cosine_encoder"]]
    shared = same & (cosines >= threshold).all(axis=1)
    rows = []
    for source, pairing in (("trained", "decoder"), ("floor", "shuffled")):
        found = cofiring[cofiring["pairing"] == pairing].set_index("latent")
        live = found["correlation"].notna()
        groups = {"all": found.assign(correlation=found["correlation"].fillna(0), jaccard=found["jaccard"].fillna(0))}
        groups["live"] = found[live]
        if source == "trained":
            groups["shared"] = found[live & shared.reindex(found.index)]
            groups["unshared"] = found[live & ~shared.reindex(found.index)]
        for statistic in STATISTICS:
            rows += [
                (source, name, statistic, np.nan, part[statistic].mean(), len(part)) for name, part in groups.items()
            ]
        if source == "trained":
            cosine = cosines["cosine_decoder"].reindex(groups["live"].index)
            rows += _by_cosine(groups["live"], cosine)
            rank = cosine.corr(groups["live"]["correlation"], method="spearman") if len(cosine) > 2 else np.nan
            rows.append((source, "live", "rank correlation", np.nan, rank, len(cosine)))
    return rows


def _by_cosine(live: pd.DataFrame, cosine: pd.Series) -> list[tuple]:
    middles = np.round(BINS[:-1] + 0.05, 2)[np.digitize(cosine, BINS[1:-1])]
    return [
        ("trained", "live", statistic, x, part[statistic].mean(), len(part))
        for x, part in live.groupby(middles)
        for statistic in STATISTICS
    ]
