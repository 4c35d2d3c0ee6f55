"""Groups of latents over seeds: the same feature, found again and again.

A group has at most one latent of each SAE, and all of its members are shared with each other. Every latent is in one
group, if only alone. Groups grow from the most similar pairs on (complete linkage), so where matches contradict each
other the better ones win. A group is *consistent* if no match leads out of it. It is inconsistent where A's latent is
shared with B's and B's with C's, but A's is not shared with that latent of C.
"""

import numpy as np
import pandas as pd

from sae_stability.consensus.sharing import Sharing

COLUMNS = ("group", "seed", "latent", "n_seeds", "mean_cosine", "consistent")


def groups(found: Sharing) -> pd.DataFrame:
    """A row for each latent of each SAE, with the columns `COLUMNS`; groups of most seeds come first.

    `mean_cosine` is the mean over pairs of members of the mean of their matched decoder and encoder cosine; NaN for a
    latent alone.
    """
    members = _merged(found)
    label = np.empty(found.start[-1], np.int64)
    for number, group in enumerate(members):
        label[group] = number
    outside = found.partner >= 0
    inside = outside & (label[found.partner] == label[:, None])
    leads_out = np.zeros(len(members), bool)
    np.logical_or.at(leads_out, label, (outside & ~inside).any(axis=1))
    # Each pair is there twice, once from either side.
    pairs = np.bincount(label, inside.sum(axis=1), len(members))
    sums = np.bincount(label, np.where(inside, found.cosine, 0).sum(axis=1), len(members))
    table = pd.DataFrame(
        {
            "group": label,
            "seed": np.array(found.seeds)[found.place],
            "latent": found.latent,
            "n_seeds": np.array([len(group) for group in members])[label],
            "mean_cosine": np.divide(sums, pairs, out=np.full(len(members), np.nan), where=pairs > 0)[label],
            "consistent": ~leads_out[label],
        }
    )
    return table.sort_values("group", kind="stable", ignore_index=True)


def _merged(found: Sharing) -> list[list[int]]:
    """The members of every group; groups of most seeds first, then by their first latent."""
    place, group_of = found.place, np.arange(found.start[-1])
    members = {latent: [latent] for latent in range(found.start[-1])}
    a, column = np.nonzero(found.partner > np.arange(found.start[-1])[:, None])
    b = found.partner[a, column]
    for pair in np.lexsort((b, a, -found.cosine[a, column])):
        first, second = sorted((int(group_of[a[pair]]), int(group_of[b[pair]])))
        if first == second:
            continue
        # Partners in one SAE are one to one, so two groups with a seed in common cannot pass this.
        if all(found.partner[x, place[y]] == y for x in members[first] for y in members[second]):
            members[first] += members.pop(second)
            group_of[members[first]] = first
    return sorted((sorted(group) for group in members.values()), key=lambda group: (-len(group), group))
