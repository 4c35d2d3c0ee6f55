"""How well the highest cosine tells which latents lower the error of the small SAE."""

from typing import NamedTuple

import numpy as np
import pandas as pd


class Prediction(NamedTuple):
    """What a cosine says about insertions.

    Attributes:
        auc: area under the ROC curve; NaN where all latents are of one kind.
        threshold: the cosine at which Youden's J is largest: latents below it are called novel.
        j: Youden's J there, the true positive rate less the false positive rate.
        curve: `cosine` (latents below it are called novel), `false_positive_rate`, `true_positive_rate`; ascending.
    """

    auc: float
    threshold: float
    j: float
    curve: pd.DataFrame


def prediction(max_cosine: np.ndarray, lowers_error: np.ndarray) -> Prediction:
    """Predict that a latent lowers the error from a low cosine.

    Args:
        max_cosine: (n,) cosines.
        lowers_error: (n,) bool, the truth.
    """
    cosines, counts = np.unique(max_cosine, return_counts=True)
    positive = np.bincount(np.searchsorted(cosines, max_cosine), weights=lowers_error, minlength=len(cosines))
    positives, negatives = int(lowers_error.sum()), int((~lowers_error).sum())
    limits = np.append(cosines, np.inf)
    if not positives or not negatives:
        empty = np.full(len(limits), np.nan)
        curve = pd.DataFrame({"cosine": limits, "false_positive_rate": empty, "true_positive_rate": empty})
        return Prediction(np.nan, np.nan, np.nan, curve)
    true = np.append(0, positive.cumsum()) / positives
    false = np.append(0, (counts - positive).cumsum()) / negatives
    curve = pd.DataFrame({"cosine": limits, "false_positive_rate": false, "true_positive_rate": true})
    best = int(np.argmax(true - false))
    # Halfway between two cosines: the same latents lie below, whatever the rounding.
    inner = 0 < best < len(cosines)
    threshold = (cosines[best - 1] + cosines[best]) / 2 if inner else limits[best]
    return Prediction(float(np.trapezoid(true, false)), float(threshold), float(true[best] - false[best]), curve)
