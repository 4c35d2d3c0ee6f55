"""The figures read what the matching and overlap code really writes."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.activations.matrix import import_matrix
from sae_stability.consensus.job import build_consensus
from sae_stability.figures import drawings, registry, summary
from sae_stability.firing.substitution_job import measure_substitution
from sae_stability.match.floors import write_floor
from sae_stability.match.overlap_tables import write_overlap
from sae_stability.match.pairs import write_match
from sae_stability.pipeline.consensus import TABLES
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights

N, D, COMMON = 40, 16, 15
IMPORTED = {"chunk": "heldout", "heldout_rows": 150, "train_rows": 50, "chunk_rows": 50, "shard_rows": 100}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three SAEs of 40 latents that have 15 in common, in another order in each; some are dead."""
    root = tmp_path_factory.mktemp("cohort")
    generator = np.random.default_rng(0)
    common = generator.normal(size=(COMMON, D))
    rows, alive, latents = {}, {}, {}
    for seed in range(3):
        mixed = np.concatenate([common, generator.normal(size=(N - COMMON, D))])[generator.permutation(N)]
        rows[seed] = {side: mixed + generator.normal(scale=0.1, size=(N, D)) for side in ("encoder", "decoder")}
        alive[seed] = generator.random(N) < 0.8
        latents[seed] = root / f"seed-{seed}.parquet"
        columns = {"latent": np.arange(N), "rate": generator.random(N), "alive": alive[seed]}
        columns["init_similarity_decoder"] = np.linspace(-1, 1, N)
        files.write_table(latents[seed], pd.DataFrame(columns))
    matches = []
    for a, b in itertools.combinations(range(3), 2):
        names = {"a": {"cohort": "base", "seed": a}, "b": {"cohort": "base", "seed": b}}
        matches.append(root / "matches" / "base" / f"{a}-{b}.parquet")
        write_match(matches[-1], rows[a], rows[b], alive[a], alive[b], names)
    floors = [root / f"floor-{rep}.parquet" for rep in range(2)]
    for rep, out in enumerate(floors):
        write_floor(n_latents=N, d_model=D, rep=rep, out=out)
    overlap = root / "overlap"
    saes = [(seed, root / f"sae-{seed}") for seed in rows]
    for seed, folder in saes:
        formats.write(folder, weights(**rows[seed]), "own")
    tables = {"match": matches, "floor": floors, "latents": list(latents.items()), "sae": saes}
    write_overlap(cohort="base", **tables, threshold=0.7, out=overlap)
    measured = {
        "firing": [firing_table(root, seed, alive[seed]) for seed in rows],
        "cofiring": [cofiring_table(root, path) for path in matches],
    }
    for pair, path in zip(itertools.combinations(range(3), 2), matches, strict=True):
        write_substitution(root, rows, pair, path)
    rows_of = {"latents": list(latents.items()), "chunk": root / "heldout"}
    build_consensus(sae=saes, match=matches, **rows_of, out=root / "consensus" / "base")
    files.write_json(root / "seed-0.json", {"fvu": 0.2, "l0": 4.0, "dead_fraction": 0.1, "n_rows": 1000})
    return {
        "match": matches[0],
        "matches": matches,
        "overlap": overlap,
        "evaluation": root / "seed-0.json",
        **measured,
        "root": root,
    }


def weights(encoder: np.ndarray, decoder: np.ndarray) -> Weights:
    encoder, decoder = encoder.astype(np.float32), decoder.astype(np.float32)
    return Weights(encoder, decoder, np.zeros(N, np.float32), np.zeros(D, np.float32), activation="topk", k=4)


def firing_table(root, seed: int, alive: np.ndarray):
    generator = np.random.default_rng(seed)
    path = root / "firing" / "base" / f"seed-{seed}.parquet"
    rate = np.where(alive, generator.uniform(0.001, 0.1, N), 0.0)
    entropy = np.where(alive, generator.uniform(0, 6, N), np.nan)
    files.write_table(path, pd.DataFrame({"latent": np.arange(N), "rate": rate, "token_entropy": entropy}))
    return path


def cofiring_table(root, match):
    correlation = files.read_table(match)[0]["cosine_decoder"].where(np.arange(N) % 5 > 0)
    parts = [
        pd.DataFrame({"pairing": pairing, "latent": np.arange(N), "correlation": value, "jaccard": value.fillna(0)})
        for pairing, value in (("decoder", correlation), ("shuffled", 0.1 * correlation))
    ]
    path = root / "cofiring" / "base" / match.name
    files.write_table(path, pd.concat(parts))
    return path


def write_substitution(root, rows: dict, pair: tuple[int, int], match) -> None:
    """The tables of a pair, measured on rows that the first SAE's dictionary made."""
    chunk = root / "heldout"
    if not chunk.exists():
        matrix = np.abs(np.random.default_rng(1).normal(size=(200, N))) @ rows[0]["decoder"]
        np.save(root / "rows.npy", matrix.astype(np.float32))
        import_matrix(matrix=root / "rows.npy", out=chunk, **IMPORTED)
    saes = [(str(seed), root / f"sae-{seed}") for seed in pair]
    name, folder = "{}-{}".format(*pair), root / "substitution" / "base"
    parts = {"out": "", "curve_out": "-curve", "pooling_out": "-pooling"}
    outs = {flag: [(name, folder / f"{name}{part}.parquet")] for flag, part in parts.items()}
    measure_substitution(sae=saes, chunk=chunk, match=[(name, match)], **outs)


def test_the_joint_figure_counts_as_the_overlap_table_does(cohort):
    inputs = [("0-1", cohort["match"]), ("base", cohort["overlap"])]
    latents = registry.load("joint", "table").table(inputs).query("row == 'latent'")
    pairs = pd.read_parquet(cohort["overlap"] / "pairs.parquet").query("source == 'trained' and a == 0 and b == 1")
    shared = pairs.set_index("latents")["shared"]
    live = latents[latents["alive"]]
    assert latents["shared"].mean() == pytest.approx(shared["all"])
    assert (live["shared"] & live["counterpart_alive"]).mean() == pytest.approx(shared["live"])
    assert 0 < shared["live"] < 1


ELSEWHERE = {"explained", "similarity", "meta"}
INTERPRETED = [name for name, kind in registry.FIGURES.items() if ELSEWHERE & set(kind.extra)]
STITCHED = [name for name, kind in registry.FIGURES.items() if kind.stitched]


# What judges say is tested in tests/interpret and tests/workflow/test_interpret.py; stitched SAEs in tests/stitch, and
# meta-SAEs in tests/meta.
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("figure", [name for name in registry.FIGURES if name not in (*INTERPRETED, *STITCHED)])
def test_every_figure_is_drawn_and_captioned(figure, cohort):
    folder = cohort["overlap"]
    swapped = [("base", file) for file in sorted(cohort["root"].glob("substitution/base/*.parquet"))]
    agreed = [cohort["root"] / "consensus" / "base" / f"{name}.parquet" for name in TABLES]
    inputs = {
        "consensus": [("base", path) for path in (folder, *agreed)],
        "joint": [("0-1", cohort["match"]), ("base", folder)],
        "substitution": swapped,
        "pooling": swapped,
        "predictors": [("c", file) for file in (folder, *cohort["matches"], *cohort["firing"])],
        "functional": [("c", file) for file in (folder, *cohort["matches"], *cohort["cofiring"])],
        "firing-similarity": [("c", folder), ("c", cohort["evaluation"])],
        "layer": [("layers.2.mlp", folder)],
        "randomness": [("init", folder), ("order", folder)],
        "architecture": [("topk", folder), ("base", cohort["evaluation"])],
    }
    table = registry.load(figure, "table").table(inputs.get(figure, [("40", folder)]))
    picture, caption = drawings.draw(figure, table, {})
    assert picture.axes
    assert "nan" not in caption


def test_the_summary_gives_the_mean_over_the_pairs(cohort):
    text = summary.summary(study="s", base="base", overlap=[("base", cohort["overlap"])], evaluation=[])
    pairs = pd.read_parquet(cohort["overlap"] / "pairs.parquet").query("source == 'trained' and latents == 'all'")
    assert f"{pairs['shared'].mean():.1%} are shared" in text
    assert "n = 3 pairs" in text
