"""Which latents belong together: those with a meta-latent in common, and those near one latent of a smaller SAE."""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import sparse

STEP = 0.05  # by which the cosine falls until there are edges enough
_HALVINGS = 12  # of a step, to find the cosine at which there are as many
_BLOCK = 256  # latents whose edges are held at once: all edges of a large SAE do not fit in memory
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
    fires = sparse.csr_array(fires, dtype=bool)
    wanted = sum(some.nnz for some in _edges(fires))
    high = 1.0
    while not (enough := _at_least(wanted, _edges(_near(cosines, high - STEP)))) and high - STEP > -1:
        high -= STEP
    if not wanted or not enough:
        return wanted, np.nan, np.nan, np.nan
    low = high - STEP
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_least(wanted, _edges(_near(cosines, middle))):
            low = middle
        else:
            high = middle
    second = both = 0
    for mine, other in zip(_edges(fires), _edges(_near(cosines, low)), strict=True):
        second += other.nnz
        both += mine.multiply(other).nnz
    n = len(cosines)
    return wanted, low, both / wanted, second / (n * (n - 1) / 2)


def _near(cosines: np.ndarray, above: float) -> sparse.csr_array:
    """(n, s) bool: which cosines exceed a value, without a dense copy."""
    blocks = (cosines[first : first + _BLOCK] > above for first in range(0, len(cosines), _BLOCK))
    return sparse.csr_array(sparse.vstack([sparse.csr_array(some) for some in blocks]))


def _edges(members: sparse.csr_array) -> Iterator[sparse.csr_array]:
    """Pairs of rows i < j of (n, m) flags with a column in common, as (rows of a block, n) bool a block."""
    columns = members.T.tocsr()
    for first in range(0, members.shape[0], _BLOCK):
        yield sparse.triu(members[first : first + _BLOCK] @ columns, k=first + 1, format="csr")


def _at_least(wanted: int, blocks: Iterable[sparse.csr_array]) -> bool:
    """Whether there are as many edges, counted no further than needed."""
    found = 0
    return wanted == 0 or any((found := found + some.nnz) >= wanted for some in blocks)
