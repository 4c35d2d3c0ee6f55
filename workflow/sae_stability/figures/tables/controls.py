"""Table of the figure `controls`: shared fraction, FVU and scores of a cohort and of its controls."""

from pathlib import Path

import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures.tables import overlap
from sae_stability.interpret.samples import NEAR

COLUMNS = (*overlap.PAIR_COLUMNS, "scorer")
_SOURCES = {"own": "trained", "none": "trained", "shuffled": "shuffled"}


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """The pairs of every cohort, and the FVU and the scores of every SAE.

    Args:
        inputs: (name of the cohort in the figure, overlap folder), the base first; (cohort, evaluation JSON) of each
            SAE; and (EXPLAINER/SCORER/COHORT, table of scores) of each SAE that has scores.

    Returns:
        Columns `COLUMNS`; `x` numbers the cohorts from 0, the base. Beside the statistics of pairs:

        - "fvu": `fraction` is the FVU of SAE `a` on `n` held-out rows; `latents` is "all".
        - "balanced_accuracy": `fraction` is the mean over the `n` scored latents of SAE `a`, which all fire, so
          `latents` is "live"; negatives are random, or for fuzzing the wrong tokens. `scorer` is EXPLAINER/SCORER;
          source "shuffled" has the explanations of other latents, the chance level.

    Raises:
        StudyError: a missing or damaged input, or a score of a cohort without overlap tables.
    """
    folders, evaluations = overlap.split_evaluations(inputs)
    scores = [(label, path) for label, path in folders if Path(path).suffix == ".parquet"]
    folders = [given for given in folders if given not in scores]
    pairs = overlap.pair_rows_in_order(folders).assign(scorer="")
    places = pairs.drop_duplicates("cohort").set_index("cohort")[["series", "value", "x", "size", "threshold"]]
    rows = [_fvu(cohort, path) for cohort, path in evaluations]
    rows += [row for label, path in scores for row in _scores(label, path)]
    measured = pd.DataFrame(rows, columns=[*(c for c in COLUMNS if c not in places.columns)])
    if unknown := sorted(set(measured["cohort"]) - set(places.index)):
        raise StudyError(f"figure controls: cohort {unknown[0]} has no overlap tables among the inputs")
    measured = measured.join(places, on="cohort")[list(COLUMNS)]
    found = pd.concat([pairs[list(COLUMNS)], measured], ignore_index=True)
    return found.sort_values(["x"], kind="stable", ignore_index=True)


def _fvu(cohort: str, path: Path) -> dict:
    found = files.read_json(path)
    about = {"cohort": cohort, "a": _seed(path), "b": "", "source": "trained", "latents": "all", "scorer": ""}
    value = found["fvu"]
    return about | {
        "statistic": "fvu",
        "fraction": float("nan") if value is None else float(value),
        "n": int(found["n_rows"] or 0),
    }


def _scores(label: str, path: Path) -> list[dict]:
    """Mean score of an SAE, by its own explanations and by those of other latents."""
    explainer, scorer, cohort = label.split("/")
    columns = ["latent", "explained_by", "negatives", "status", "balanced_accuracy"]
    found, _ = files.read_table(path, columns)
    good = found[(found["status"] == "ok") & (found["negatives"] != NEAR)]
    about = {"cohort": cohort, "a": _seed(path), "b": "", "latents": "live", "statistic": "balanced_accuracy"}
    about |= {"scorer": f"{explainer}/{scorer}"}
    rows = []
    for explained_by, some in good.groupby("explained_by"):
        latents = some.groupby("latent")["balanced_accuracy"].mean()
        source = _SOURCES[explained_by]
        rows.append(about | {"source": source, "fraction": float(latents.mean()), "n": len(latents)})
    return rows


def _seed(path: Path) -> str:
    return Path(path).stem.removeprefix("seed-")
