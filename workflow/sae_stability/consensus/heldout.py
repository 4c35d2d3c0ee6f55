"""Is the consensus found again in a seed that had no part in it?"""

import numpy as np
import pandas as pd

from sae_stability.consensus import dictionary
from sae_stability.consensus.curve import FIRST_LEVEL
from sae_stability.consensus.groups import groups
from sae_stability.consensus.sharing import Sharing
from sae_stability.match.overlap_tables import Pair
from sae_stability.match.pairs import SIDES, certificate, match_columns, match_sides
from sae_stability.sae.weights import Weights

COLUMNS = ("heldout", "m", "n_latents", "shared", "shared_members", "shared_seed")


def heldout(
    found: Sharing,
    saes: dict[int, Weights],
    threshold: float,
    direction: dictionary.Direction,
    threads: int | None = None,
    device: str | None = None,
) -> pd.DataFrame:
    """Leave each seed out once, build the consensus of the others, and match it with the seed that was left out.

    Args:
        found: which latents are shared with which.
        saes: made by `dictionary.comparable`.
        threshold: the cosine from which a latent counts as shared.
        direction: see `dictionary.consensus`.
        threads, device: as for `match_rows`.

    Returns:
        A row for each seed left out and each level m of the others' consensus that has groups. `shared`: fraction of
        the consensus latents that are shared with the seed. `shared_members`: fraction of those groups' members, each
        as it is in its own SAE, that are. `shared_seed`: fraction of all latents of one of the other SAEs that are, on
        average.
    """
    rows = []
    for place, seed in enumerate(found.seeds):
        others = found.without(place)
        again = found.partner[found.place != place, place] >= 0
        shared_seed = np.mean([found.rate(other, place) for other in range(len(found.seeds)) if other != place])
        table = groups(others)
        number = others.start[[others.seeds.index(one) for one in table["seed"]]] + table["latent"].to_numpy()
        rest = {one: saes[one] for one in others.seeds}
        for m in range(FIRST_LEVEL, len(others.seeds) + 1):
            chosen = (table["n_seeds"] >= m).to_numpy()
            if not chosen.any():
                continue
            built = dictionary.consensus(rest, table[chosen], direction)
            shared = _shared(built, saes[seed], threshold, threads, device)
            rows.append((seed, m, built.n_latents, shared, again[number[chosen]].mean(), shared_seed))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _shared(a: Weights, b: Weights, threshold: float, threads: int | None, device: str | None) -> float:
    """The fraction of A's latents that are shared with B."""
    rows = ({side: getattr(sae, side) for side in SIDES} for sae in (a, b))
    assignments = match_sides(*rows, threads=threads, device=device)
    columns = match_columns(assignments, np.ones(a.n_latents, bool), np.ones(b.n_latents, bool))
    pair = Pair(0, 1, "trained", columns, {side: certificate(assignments[side]) for side in SIDES})
    return float(pair.passes("shared", threshold, "all").mean())
