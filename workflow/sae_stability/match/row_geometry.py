"""How long a latent's encoder row is, and how close the other decoder rows of the same SAE lie."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.match.pairs import dictionaries
from sae_stability.match.rows import prepare

NEIGHBOURS = 10  # nearest other decoder rows that the density is a mean over
_ENTRIES = 1 << 24  # cosines in memory at a time


def of(folder: Path) -> pd.DataFrame:
    """Columns `encoder_norm` and `decoder_density`, a row for each latent of the SAE in `folder`.

    `decoder_density` is the mean cosine of the latent's decoder row to the `NEIGHBOURS` nearest other decoder rows of
    the SAE, or to all others if there are fewer; NaN for an SAE of one latent.

    Raises:
        StudyError: the SAE is missing or damaged.
    """
    sides = dictionaries(folder)
    encoder = np.linalg.norm(np.asarray(sides["encoder"], np.float64), axis=1)
    decoder = prepare(sides["decoder"], f"{folder}, decoder").unit
    return pd.DataFrame({"encoder_norm": encoder, "decoder_density": density(decoder)})


def density(unit: np.ndarray) -> np.ndarray:
    """`(n,)` mean cosine of each row to its nearest others.

    Args:
        unit: `(n, d)` rows of length 1.
    """
    n = len(unit)
    nearest = min(NEIGHBOURS, n - 1)
    if nearest == 0:
        return np.full(n, np.nan)
    found, height = np.empty(n), max(1, _ENTRIES // n)
    for start in range(0, n, height):
        cosines = unit[start : start + height] @ unit.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        found[start : start + height] = np.partition(cosines, n - nearest, axis=1)[:, n - nearest :].mean(axis=1)
    return found
