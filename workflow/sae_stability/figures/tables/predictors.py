"""Table of the figure `predictors`: which properties of a latent go with being shared?"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from sae_stability.errors import StudyError
from sae_stability.figures.tables import cohort_files, overlap
from sae_stability.figures.tables.over_pairs import with_intervals
from sae_stability.random_streams import stream

COLUMNS = (
    *("series", "source", "cohort", "a", "b", "latents", "predictor", "statistic", "quantile", "x", "value", "n"),
    *("mean", "low", "high", "threshold"),
)
PREDICTORS = ("log_rate", "token_entropy", "encoder_norm", "initial_distance", "decoder_density")
QUANTILES = 10
# A penalty on squared coefficients, so that a predictor that separates perfectly has a finite one.
RIDGE = 1e-3


def table(inputs: list[tuple[str, Path]]) -> pd.DataFrame:
    """One logistic regression for each pair, and the shared fraction at each tenth of each predictor.

    Every latent of A and of B that fired is a case; the outcome is whether it is shared with a live latent of the other
    SAE. Predictors: log10 of the firing rate; entropy of the tokens, in bits; norm of the encoder row; 1 - cosine of
    the decoder row with its initial value; mean cosine to the nearest other decoder rows. One that is unknown or
    constant in a pair (an SAE made elsewhere has no known initial weights) is left out there.

    Args:
        inputs: (any label, overlap folder) of one cohort, (any label, match file) of each of its pairs, and
            (any label, table of firing) of each of its SAEs.

    Returns:
        Columns `COLUMNS`. `statistic` is "coefficient" (of predictors scaled to mean 0 and standard deviation 1: the
        change of the log odds for one standard deviation), "shared" at `quantile` 1 to 10 (`x` is the predictor's
        median there), or "fraction" (of all cases, `predictor` ""). `source` is "trained", "shuffled" (outcomes in
        random order), or "floor" (random dictionaries). `n` counts cases; `mean`, `low` and `high` are over pairs.

    Raises:
        StudyError: a missing or damaged table.
    """
    folder = cohort_files.folder_of(inputs)
    needed = ["cohort", "seed", "latent", "init_similarity_decoder", "encoder_norm", "decoder_density"]
    latents, threshold = overlap.read(folder, "latents", needed)
    pairs, _ = overlap.read(folder, "pairs", ["source", "latents", "a", "b", "n", "shared"])
    firing = cohort_files.of_saes(inputs, "firing")
    known = {seed: _properties(latents[latents["seed"] == seed], fired) for seed, fired in firing.items()}
    rows = []
    for (a, b), match in cohort_files.of_pairs(inputs, "matches").items():
        cases = _cases(match, known[a], known[b], threshold)
        rows += [(a, b, *row) for row in _pair_rows(cases, stream("predictors", a, b))]
    measured = pairs[pairs["source"].isin(("trained", "floor"))]
    for row in measured.itertuples():
        rows.append((row.a, row.b, row.source, row.latents, "", "fraction", 0, np.nan, row.shared, row.n))
    columns = ["a", "b", "source", "latents", "predictor", "statistic", "quantile", "x", "value", "n"]
    found = pd.DataFrame(rows, columns=columns)
    found = with_intervals(found, ["source", "latents", "predictor", "statistic", "quantile"])
    # The repeats of a floor share no seeds, so the bootstrap over seeds says nothing of them.
    found.loc[found["source"] == "floor", ["low", "high"]] = np.nan
    found = found.assign(series="this run", cohort=latents["cohort"].iloc[0], threshold=threshold)
    return found.astype({"a": str, "b": str})[list(COLUMNS)]


def _properties(latents: pd.DataFrame, firing: pd.DataFrame) -> pd.DataFrame:
    """The predictors of one SAE's latents, a row each, by number of the latent."""
    if len(latents) != len(firing):
        raise StudyError(f"firing has {len(firing)} latents and overlap {len(latents)}; delete both and run again")
    by_latent, fired = latents.set_index("latent"), firing.set_index("latent")
    with np.errstate(divide="ignore"):
        rate = np.log10(fired["rate"])
    return pd.DataFrame(
        {
            "log_rate": rate,
            "token_entropy": fired["token_entropy"],
            "encoder_norm": by_latent["encoder_norm"],
            "initial_distance": 1 - by_latent["init_similarity_decoder"],
            "decoder_density": by_latent["decoder_density"],
        }
    )


def _cases(match: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The latents of both SAEs that fired, with their predictors and whether they are `shared`."""
    partner = match["counterpart_decoder"].to_numpy()
    same = (partner == match["counterpart_encoder"].to_numpy()) & (partner >= 0)
    above = (match[["cosine_decoder", "cosine_encoder"]] >= threshold).all(axis=1).to_numpy()
    alive_a, alive_b = match["alive"].to_numpy(bool), match["alive_b"].to_numpy(bool)
    shared_a = same & above & alive_a & alive_b[partner]
    shared_b = np.zeros(len(b), bool)
    shared_b[partner[shared_a]] = True
    cases = pd.concat([a.assign(shared=shared_a, alive=alive_a), b.assign(shared=shared_b, alive=alive_b)])
    # Firing may be measured on fewer rows than the match's `alive`.
    return cases[cases["alive"] & np.isfinite(cases["log_rate"])].drop(columns="alive").reset_index(drop=True)


def _pair_rows(cases: pd.DataFrame, seed: int) -> list[tuple]:
    """Rows (source, latents, predictor, statistic, quantile, x, value, n) of one pair."""
    used = [name for name in PREDICTORS if np.isfinite(cases[name]).all() and cases[name].nunique() > 1]
    shared = cases["shared"].to_numpy()
    n, rows = len(cases), []
    if used and 0 < shared.sum() < n:
        predictors = cases[used].to_numpy(float)
        shuffled = np.random.default_rng(seed).permutation(shared)
        for source, outcome in (("trained", shared), ("shuffled", shuffled)):
            fitted = zip(used, coefficients(predictors, outcome), strict=True)
            rows += [(source, "live", name, "coefficient", 0, np.nan, value, n) for name, value in fitted]
    for name in used:
        place = (cases[name].rank(method="first").to_numpy() - 1) * QUANTILES // n
        for quantile, part in cases.groupby(place.astype(int)):
            found = (part[name].median(), part["shared"].mean(), len(part))
            rows.append(("trained", "live", name, "shared", quantile + 1, *found))
    return rows


def coefficients(predictors: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Standardised coefficients `(p,)` of a logistic regression with an intercept.

    Args:
        predictors: `(n, p)`, none constant.
        outcome: `(n,)` bool.
    """
    scaled = (predictors - predictors.mean(axis=0)) / predictors.std(axis=0)
    design = np.column_stack([np.ones(len(scaled)), scaled])
    penalty = np.r_[0.0, np.full(scaled.shape[1], RIDGE)]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = design @ weights
        value = (np.logaddexp(0, logits) - outcome * logits).mean() + (penalty * weights**2).sum() / 2
        return value, design.T @ (expit(logits) - outcome) / len(design) + penalty * weights

    return minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS").x[1:]
