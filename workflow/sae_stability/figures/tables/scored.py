"""Scores of explanations among a figure's inputs, a row a latent, beside what chance gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures.tables import overlap
from sae_stability.random_streams import stream

OK = "ok"
# Texts in which the latent does not fire: drawn at random, or, for fuzzing, marked elsewhere.
NEGATIVES = ("random", "marks")
# Of 100 scores by another latent's explanation, 95 are at most chance.
CHANCE = 0.95

COLUMNS = (
    *("series", "row", "source", "cohort", "seed", "latent", "first_latent", "explained_by", "score", "spread"),
    *("low", "high", "n", "shared_with", "n_others", "mean_cosine", "explainer", "scorer", "negatives"),
    "threshold",
)

_RESAMPLES = 1000


def folder_of(inputs: list[tuple[str, Path]]) -> Path:
    """The folder of overlap tables.

    Raises:
        StudyError: there is none, or several.
    """
    return overlap.only_folder([(label, path) for label, path in inputs if not Path(path).suffix])


def of_seeds(inputs: list[tuple[str, Path]], stage: str) -> dict[int, Path]:
    """The files `seed-N.parquet` of a stage ("explanations", "scores"), by seed.

    Raises:
        StudyError: there is none.
    """
    depth = {"explanations": -4, "scores": -5}[stage]
    paths = [Path(path) for _, path in inputs if Path(path).parts[depth:][:1] == (stage,)]
    if not paths:
        raise StudyError(f"this figure needs the tables of a cohort in {stage}/")
    return {int(path.stem.removeprefix("seed-")): path for path in sorted(paths)}


def latents(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """A row for each latent and explanation that has a score.

    Args:
        inputs: (any label, path) of a cohort's overlap folder, and of the scores of each of its SAEs.

    Returns:
        Columns `COLUMNS`, `row` being "latent". `score` is balanced accuracy, the mean over draws; `spread` the
        standard deviation over draws (NaN for one draw). `explained_by` is "own", or "shuffled" for another latent's
        explanation: what chance gives, so its
        `source` is "floor".

    Raises:
        StudyError: a missing or damaged table.
    """
    columns = ["seed", "latent", "shared_with", "n_others", "mean_cosine", "cohort"]
    places, threshold = overlap.read(folder_of(inputs), "latents", columns)
    parts = [_of_sae(seed, path) for seed, path in of_seeds(inputs, "scores").items()]
    rows = pd.concat(parts).merge(places[columns], how="left", on=["seed", "latent"])
    source = np.where(rows["explained_by"] == "own", "trained", "floor")
    rows = rows.assign(series="this run", row="latent", source=source, low=np.nan, high=np.nan, threshold=threshold)
    return rows.sort_values(["explained_by", "seed", "latent"], ignore_index=True)[list(COLUMNS)]


def _of_sae(seed: int, path: Path) -> pd.DataFrame:
    needed = ["latent", "first_latent", "explained_by", "negatives", "balanced_accuracy", "status"]
    table, _ = files.read_table(path, needed)
    kind = next((name for name in NEGATIVES if (table["negatives"] == name).any()), "")
    rows = table[(table["status"] == OK) & (table["negatives"] == kind)]
    grouped = rows.groupby(["latent", "first_latent", "explained_by"])["balanced_accuracy"]
    found = grouped.agg(score="mean", spread="std", n="count").reset_index()
    explainer, scorer = path.parts[-4:-2]
    return found.assign(seed=seed, explainer=explainer, scorer=scorer, negatives=kind)


def one_row(rows: pd.DataFrame, **values: object) -> dict:
    """A row beside those of latents, such as a mean, with what they have in common filled in."""
    blank = dict.fromkeys(("spread", "low", "high", "mean_cosine", "score"), float("nan"))
    source = "trained" if values.get("explained_by", "own") == "own" else "floor"
    blank |= {"series": "this run", "source": source, "seed": -1, "latent": -1, "first_latent": -1}
    blank |= {"shared_with": -1, "n_others": -1, "n": 0, "explained_by": "own"}
    common = {name: rows[name].iloc[0] if len(rows) else "" for name in ("cohort", "explainer", "scorer", "negatives")}
    return blank | common | values


def chance_row(rows: pd.DataFrame) -> dict:
    """What explanations of other latents score: the mean, and the quantiles that 5 % lie below and above."""
    values = rows.loc[rows["explained_by"] == "shuffled", "score"].to_numpy()
    found = {}
    if len(values):
        found = {"score": values.mean(), "low": np.quantile(values, 1 - CHANCE), "high": np.quantile(values, CHANCE)}
    return one_row(rows, row="chance", explained_by="shuffled", n=len(values), **found)


def with_rows(rows: pd.DataFrame, inputs: list[tuple[str, Path]], found: list[dict]) -> pd.DataFrame:
    """The rows of latents followed by `found`, with the study's threshold of a shared latent in each."""
    threshold = overlap.read(folder_of(inputs), "latents", ["latent"])[1]
    whole = pd.concat([rows, pd.DataFrame(found, columns=rows.columns)], ignore_index=True)
    return whole.assign(threshold=threshold)


def interval(
    values: np.ndarray, groups: np.ndarray, statistic: Callable[[np.ndarray], float], name: str
) -> tuple[float, float]:
    """95 % interval of a statistic, by a percentile bootstrap over groups of rows.

    A latent and its counterparts in the other SAEs are one group, because their scores are alike. Fewer than three
    groups give no interval (NaN).

    Args:
        values: what the statistic is of, `(n,)` or `(n, columns)`.
        groups: the group of each row, `(n,)`.
        statistic: from values to a number.
        name: of the random numbers.
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if len(members) < 3:
        return float("nan"), float("nan")
    rng = np.random.default_rng(stream("bootstrap over latents", name, len(members)))
    drawn = rng.integers(0, len(members), (_RESAMPLES, len(members)))
    found = [statistic(values[np.concatenate([members[place] for place in places])]) for places in drawn]
    low, high = np.nanquantile(found, [0.025, 0.975]) if np.isfinite(found).any() else (np.nan, np.nan)
    return float(low), float(high)


def correlation(pairs: np.ndarray) -> float:
    """Spearman's rank correlation of two columns `(n, 2)`; NaN where one of them does not vary."""
    if not len(pairs):
        return float("nan")
    a, b = rankdata(pairs, axis=0).T
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else float("nan")
