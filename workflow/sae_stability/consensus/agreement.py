"""Do the matches of all pairs agree with each other, more than independent ones would?"""

from itertools import permutations

import numpy as np
import pandas as pd

from sae_stability.consensus.sharing import Sharing

TRIPLE_COLUMNS = ("a", "b", "c", "paths", "closed", "contradicted", "expected_closed", "error")
LEVEL_COLUMNS = ("n_seeds", "groups", "consistent", "latents", "expected_latents")


def triples(found: Sharing) -> pd.DataFrame:
    """Follow shared latents from A over B to C, for every three SAEs and each one in the middle.

    Returns:
        A row for each (a, b, c), with a before c. `paths`: latents of B that are shared with A and with C. `closed`:
        of these, the ones whose partners in A and C are shared with each other. `contradicted`: one of those partners
        is shared with another latent instead. `expected_closed`: what `closed` would be if the pairs were independent:
        `paths` times the shared fraction of A with C. `error`: the fraction of wrong matches that would give so many
        contradictions, if matches were wrong independently: a triangle agrees if all three are right, so
        closed / (closed + contradicted) = (1 - error)^3. NaN where there is no triangle.
    """
    rows, own = [], np.arange(found.start[-1])
    for a, b, c in permutations(range(len(found.seeds)), 3):
        if a > c:
            continue
        middle = own[found.start[b] : found.start[b + 1]]
        i, k = found.partner[middle, a], found.partner[middle, c]
        through = (i >= 0) & (k >= 0)
        i, k = i[through], k[through]
        closed = found.partner[i, c] == k
        contradicted = ~closed & ((found.partner[i, c] >= 0) | (found.partner[k, a] >= 0))
        counts = len(i), int(closed.sum()), int(contradicted.sum())
        names = (found.seeds[place] for place in (a, b, c))
        rows.append((*names, *counts, counts[0] * found.rate(a, c), error_rate(*counts[1:])))
    return pd.DataFrame(rows, columns=list(TRIPLE_COLUMNS))


def error_rate(closed: int, contradicted: int) -> float:
    """The fraction of wrong matches behind these counts of triangles, see `triples`."""
    triangles = closed + contradicted
    return 1 - (closed / triangles) ** (1 / 3) if triangles else np.nan


def levels(found: Sharing, groups: pd.DataFrame) -> pd.DataFrame:
    """How many groups and latents are found in how many seeds.

    Returns:
        A row for each `n_seeds`, 1 to all. `groups`: of that many seeds; `consistent`: of these, the consistent ones.
        `latents`: latents of any SAE that are shared with n_seeds - 1 others. `expected_latents`: what that would be if
        each latent were shared with each other SAE independently, at the shared fraction of the two SAEs.
    """
    n = len(found.seeds)
    one_each = groups.drop_duplicates("group")
    sharers = (found.partner >= 0).sum(axis=1)
    expected = np.zeros(n)
    for a in range(n):
        rates = [found.rate(a, b) for b in range(n) if b != a]
        expected += (found.start[a + 1] - found.start[a]) * _number_of_successes(rates)
    return pd.DataFrame(
        {
            "n_seeds": np.arange(1, n + 1),
            "groups": np.bincount(one_each["n_seeds"], minlength=n + 1)[1:],
            "consistent": np.bincount(one_each.loc[one_each["consistent"], "n_seeds"], minlength=n + 1)[1:],
            "latents": np.bincount(sharers, minlength=n),
            "expected_latents": expected,
        }
    )


def _number_of_successes(rates: list[float]) -> np.ndarray:
    """Probabilities of 0, 1, 2 ... successes of independent trials with these rates (Poisson binomial)."""
    probability = np.ones(1)
    for rate in rates:
        probability = np.convolve(probability, [1 - rate, rate])
    return probability
