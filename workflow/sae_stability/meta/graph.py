"""Which latents belong together: those with a meta-latent in common, and those near one latent of a smaller SAE."""

import numpy as np
from scipy import sparse

STEP = 0.05  # by which the cosine falls until there are edges enough
_HALVINGS = 12  # of a step, to find the cosine at which there are as many
COLUMNS = ("edges", "cosine", "agreement", "chance")


def agreement(fires: np.ndarray | sparse.sparray, cosines: np.ndarray) -> tuple[int, float, float, float]:
    """How far two graphs of latents have the same edges (authors' post on meta-SAEs).

    In the first, an edge joins two latents on whose rows one meta-latent fires. In the second, one joins two latents
    whose cosines with one latent of a smaller SAE both exceed t. t is the largest that gives at least as many edges, to
    STEP / 2^12.

    Args:
        fires: (n, m) bool, whether each meta-latent fires on each latent's decoder row.
        cosines: (n, s) of the latents' decoder rows with those of the smaller SAE.

    Returns:
        Edges of the first graph; t; the fraction of these edges that the second graph has; and the fraction that as
        many edges would have, placed at random. NaN where the first graph has no edge or no t > -1 gives enough.
    """
    first = _edges(fires)
    n = len(cosines)
    high = 1.0
    while len(second := _edges(cosines > high - STEP)) < len(first) and high - STEP > -1:
        high -= STEP
    if not len(first) or len(second) < len(first):
        return len(first), np.nan, np.nan, np.nan
    low = high - STEP
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = _edges(cosines > middle)
        if len(found) < len(first):
            high = middle
        else:
            low, second = middle, found
    both = np.intersect1d(first, second, assume_unique=True)
    return len(first), low, len(both) / len(first), len(second) / (n * (n - 1) / 2)


def _edges(members: np.ndarray | sparse.sparray) -> np.ndarray:
    """Pairs of rows i < j of (n, m) flags with a column in common, as i * n + j."""
    flags = sparse.csr_array(members, dtype=np.int32)
    pairs = sparse.triu(flags @ flags.T, k=1).tocoo()
    return pairs.row.astype(np.int64) * flags.shape[0] + pairs.col
