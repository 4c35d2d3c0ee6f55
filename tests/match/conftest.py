"""A cohort on disk with shared overlaps, and its matches, floors and tables."""

from itertools import combinations

import numpy as np
import pytest

from sae_stability.match import overlap_tables
from sae_stability.match.floors import write_floor
from sae_stability.match.pairs import match_pair

from .studies import tables, write_sae


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """Four SAEs of 120 latents: 30 rows are common to all, 30 more to seeds 1 and 2, the others are random.

    Returns the folder, the arguments of `write_overlap`, each seed's order of latents, and the tables.
    """
    root = tmp_path_factory.mktemp("planted")
    generator = np.random.default_rng(0)
    n, d = 120, 64
    common = {side: generator.standard_normal((60, d)) for side in ("encoder", "decoder")}
    paths, orders = {}, {}
    for seed in (1, 2, 3, 4):
        size = 60 if seed in (1, 2) else 30
        order = generator.permutation(n)
        rows = {}
        for side in ("encoder", "decoder"):
            shared = common[side][:size] + 0.1 * generator.standard_normal((size, d))
            rows[side] = np.concatenate((shared, generator.standard_normal((n - size, d))))[order]
        orders[seed] = order
        # Of the rows common to all, the last ten are dead in seed 4.
        alive = ~((order >= 20) & (order < 30)) if seed == 4 else None
        paths[seed] = write_sae(root, seed, rows["encoder"], rows["decoder"], alive)
    matches = []
    for a, b in combinations(paths, 2):
        matches.append(root / f"matches/base/{a}-{b}.parquet")
        match_pair(
            a=paths[a][0], b=paths[b][0], latents_a=paths[a][1], latents_b=paths[b][1], out=matches[-1], threads=1
        )
    floors = [root / f"floors/{rep}.parquet" for rep in range(3)]
    for rep, path in enumerate(floors):
        write_floor(n_latents=n, d_model=d, rep=rep, out=path, threads=1)
    call = {
        "cohort": "base",
        "match": matches,
        "floor": floors,
        "latents": [(seed, path[1]) for seed, path in paths.items()],
        "sae": [(seed, path[0]) for seed, path in paths.items()],
        "threshold": 0.7,
    }
    overlap_tables.write_overlap(**call, out=root / "overlap")
    return root, call, orders, tables(root / "overlap")
