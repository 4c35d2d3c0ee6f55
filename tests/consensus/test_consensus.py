"""Planted features over seeds: which groups are found, how wrong matches show, and what the consensus SAE explains."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability import cli
from sae_stability.activations.matrix import import_matrix
from sae_stability.consensus import agreement, dictionary
from sae_stability.consensus.groups import groups
from sae_stability.consensus.job import build_consensus
from sae_stability.consensus.sharing import Sharing
from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_table
from sae_stability.match.pairs import match_pair
from sae_stability.sae import formats, load
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.training.in_memory import train
from sae_stability.sae.weights import Weights

SEEDS, D, N, FEATURES = range(4), 48, 40, 30
K = 3


class Planted:
    """Four SAEs of 40 latents. Each has each of 30 features with probability 0.8, at another place."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.folder = folder
        self.features = rng.standard_normal((FEATURES, D)) / D**0.5
        self.has = rng.random((FEATURES, len(SEEDS))) < 0.8
        self.has[:10] = True
        self.feature_of, self.files = {}, {"sae": [], "latents": [], "metrics": []}
        codes = rng.random((400, FEATURES)) * (rng.random((400, FEATURES)) < 0.08)
        np.save(folder / "rows.npy", (codes @ self.features).astype(np.float32))
        rows = {"heldout_rows": 399, "train_rows": 1, "chunk_rows": 1, "shard_rows": 200}
        import_matrix(matrix=folder / "rows.npy", chunk="heldout", **rows, out=folder / "chunk")
        for seed in SEEDS:
            self._add(seed, rng)
        self.match = []
        for a, b in combinations(SEEDS, 2):
            self.match.append(folder / f"{a}-{b}.parquet")
            saes = {side: folder / f"base/seed-{seed}" for side, seed in (("a", a), ("b", b))}
            match_pair(**saes, out=self.match[-1], threads=1)

    def _add(self, seed: int, rng) -> None:
        present = np.flatnonzero(self.has[:, seed])
        feature_of = rng.permutation(np.concatenate([present, np.full(N - len(present), -1)]))
        rows = np.where(feature_of[:, None] >= 0, self.features[feature_of], rng.standard_normal((N, D)) / D**0.5)
        rows = (rows + 0.02 * rng.standard_normal((N, D))).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        sae = self.folder / "base" / f"seed-{seed}"
        formats.write(sae, Weights(rows, rows, np.zeros(N, np.float32), np.zeros(D, np.float32), "topk", k=K), "own")
        out = {"out_json": [sae.with_suffix(".json")], "out_parquet": [sae.with_suffix(".parquet")]}
        evaluate(sae=[sae], chunk=self.folder / "chunk", **out)
        self.feature_of[seed] = feature_of
        for name, file in (("sae", sae), ("metrics", out["out_json"][0]), ("latents", out["out_parquet"][0])):
            self.files[name].append((seed, file))


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Planted:
    found = Planted(tmp_path_factory.mktemp("consensus"))
    (found.folder / "out" / "at-least-9").mkdir(parents=True)  # of a run with other settings
    build_consensus(**found.files, match=found.match, chunk=found.folder / "chunk", out=found.folder / "out")
    return found


def table(planted: Planted, name: str) -> pd.DataFrame:
    return read_table(planted.folder / "out" / f"{name}.parquet")[0]


def test_the_planted_groups_are_found(planted: Planted):
    found = table(planted, "groups")
    found["feature"] = [planted.feature_of[seed][latent] for seed, latent in zip(found.seed, found.latent, strict=True)]
    assert len(found) == N * len(SEEDS)
    assert found.consistent.all()
    for feature in range(FEATURES):
        of_feature = found[found.feature == feature]
        assert of_feature.group.nunique() == 1
        assert (of_feature.n_seeds == planted.has[feature].sum()).all()
    assert (found[found.feature < 0].n_seeds == 1).all()
    counts = table(planted, "levels").set_index("n_seeds")
    in_all = int(planted.has.all(1).sum())
    assert counts.groups[4] == counts.consistent[4] == in_all
    assert counts.latents.sum() == N * len(SEEDS) == pytest.approx(counts.expected_latents.sum())
    assert counts.latents[4] > 1.2 * counts.expected_latents[4], "what all seeds share is no accident"


def test_the_consensus_holds_the_planted_directions(planted: Planted):
    assert {path.name for path in (planted.folder / "out").glob("at-least-*")} == {f"at-least-{m}" for m in (2, 3, 4)}
    for m in (2, 3, 4):
        sae = load(planted.folder / "out" / f"at-least-{m}")
        directions = planted.features[planted.has.sum(1) >= m]
        cosine = sae.decoder.numpy() @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
        assert sae.n_latents == len(directions)
        assert np.allclose(np.sort(cosine.argmax(1)), np.arange(len(directions)))
        assert (cosine.max(1) > 0.99).all()


def test_the_consensus_explains_more_than_as_many_random_latents(planted: Planted):
    curve = table(planted, "curve").set_index(["series", "m", "seed"]).sort_index()
    for m in (2, 3, 4):
        consensus = curve.loc[("consensus", m, -1)]
        for series in ("random", "frequent"):
            controls = curve.loc[(series, m)]
            assert list(controls.index) == list(SEEDS)
            assert set(controls.n_latents) == {consensus.n_latents} == {(planted.has.sum(1) >= m).sum()}
            assert set(controls.k) == {consensus.k} <= set(range(K + 1))
            assert controls.fvu.nunique() == len(SEEDS)
        assert (consensus.fvu < curve.loc[("random", m)].fvu).all()
    for seed, path in planted.files["metrics"]:
        assert curve.fvu["seed", 0, seed] == read_json(path)["fvu"]
    assert curve.ce.isna().all()


def test_an_encoder_is_trained_for_the_consensus(planted: Planted, tmp_path: Path):
    rows = {"heldout_rows": 100, "train_rows": 300, "chunk_rows": 300, "shard_rows": 150}
    chunks = {chunk: tmp_path / f"chunk-{chunk}" for chunk in ("heldout", 0)}
    for chunk, folder in chunks.items():
        import_matrix(matrix=planted.folder / "rows.npy", chunk=chunk, **rows, out=folder)
    train(chunks[0], init_seeds=[0, 1, 2], n_latents=24, k=3, batch_size=50, epochs=4, threads=1, out=tmp_path / "base")
    saes = [(seed, tmp_path / "base" / f"seed-{seed}") for seed in range(3)]
    matches = [tmp_path / f"{a}-{b}.parquet" for a, b in combinations(range(3), 2)]
    for file, ((_, a), (_, b)) in zip(matches, combinations(saes, 2), strict=True):
        match_pair(a=a, b=b, out=file, threads=1)
    out = tmp_path / "out"
    build_consensus(sae=saes, match=matches, threshold=0.1, chunk=chunks["heldout"], refit=chunks[0], out=out)
    kept, refitted = (load(out / name) for name in ("at-least-2", "at-least-2-refitted"))
    assert np.allclose(kept.decoder.numpy(), refitted.decoder.numpy(), atol=1e-5)
    assert not np.allclose(kept.encoder.numpy(), refitted.encoder.numpy(), atol=0.01)
    curve = read_table(out / "curve.parquet")[0].query("m == 2").groupby("series").fvu.mean()
    assert curve["refitted"] != curve["consensus"]
    with pytest.raises(StudyError, match="was not trained here"):
        build_consensus(**planted.files, match=planted.match, refit=chunks[0], out=tmp_path / "other")


def test_a_seed_that_was_left_out_has_the_consensus_again(planted: Planted):
    found = table(planted, "heldout")
    assert len(found) == len(SEEDS) * 2
    for row in found.itertuples():
        others = planted.has[:, [seed for seed in SEEDS if seed != row.heldout]]
        core = others.sum(1) >= row.m
        assert row.n_latents == core.sum()
        assert row.shared == pytest.approx(planted.has[core, row.heldout].mean())
        assert row.shared_seed < row.shared_members


def test_stability_lies_beside_each_seed(planted: Planted):
    found = table(planted, "seed-1")
    feature = planted.feature_of[1]
    expected = np.where(feature >= 0, (planted.has[feature].sum(1) - 1) / 3, 0)
    assert np.allclose(found.stability, expected)
    told = read_json(planted.folder / "out" / "seed-1.json")
    assert (told["format"], told["version"], told["others"]) == ("sae-stability/stability", 1, [0, 2, 3])
    assert np.allclose(told["stability"], expected, atol=1e-6)
    assert told["group"] == found.group.tolist()


def test_any_sae_is_rated_against_seeds(planted: Planted, tmp_path: Path, capsys):
    folders = [str(folder) for _, folder in planted.files["sae"]]
    words = ["rate", folders[1], "--against", folders[0], *folders[2:], "--out", str(tmp_path / "rated.parquet")]
    assert cli.main(words) == 0
    assert f"{(planted.has.all(1)).sum():>8} latents are shared with 3 of 3" in capsys.readouterr().out
    rated, _ = read_table(tmp_path / "rated.parquet")
    assert rated.stability.equals(table(planted, "seed-1").stability)
    assert read_json(tmp_path / "rated.json")["others"] == [folders[0], *folders[2:]]
    assert cli.main(["rate", folders[1], "--against", *folders]) == 2
    assert "an SAE is given twice" in capsys.readouterr().err


def drawn(error: float, n: int = 4000) -> Sharing:
    """Three SAEs that share all latents, where a part `error` of the matches of each pair names a wrong latent."""
    rng = np.random.default_rng(1)
    partner, cosine = np.full((3 * n, 3), -1), np.full((3 * n, 3), np.nan)
    for a, b in combinations(range(3), 2):
        counterpart, wrong = np.arange(n), np.flatnonzero(rng.random(n) < error)
        counterpart[wrong] = np.roll(wrong, 1)
        partner[a * n : (a + 1) * n, b] = b * n + counterpart
        partner[b * n + counterpart, a] = a * n + np.arange(n)
        cosine[a * n : (a + 1) * n, b] = cosine[b * n + counterpart, a] = np.where(
            counterpart == np.arange(n), 0.9, 0.8
        )
    return Sharing((0, 1, 2), np.arange(4) * n, partner, cosine)


@pytest.mark.parametrize("error", [0.0, 0.05, 0.2])
def test_the_planted_rate_of_wrong_matches_is_estimated(error: float):
    found = drawn(error)
    rows = agreement.triples(found)
    assert len(rows) == 3
    assert np.allclose(rows.error, error, atol=0.015)
    assert (rows.paths == 4000).all()
    assert np.allclose(rows.expected_closed, 4000), "all are shared: independence alone would close all"
    whole = groups(found).drop_duplicates("group")
    right = (1 - error) ** 3
    assert (whole.consistent & (whole.n_seeds == 3)).sum() == pytest.approx(4000 * right, abs=150)
    # The better matches win: where one of three is wrong, two members stay together.
    assert (whole.n_seeds == 3).sum() == (whole.consistent & (whole.n_seeds == 3)).sum()


def test_the_means_of_two_kinds_of_direction():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((3, 1, 5)).astype(np.float32)
    rows[2] = rows[0] + rows[1]
    bias = np.ones(5, np.float32)
    saes = {
        seed: Weights(rows[seed] * 2, rows[seed], np.full(1, seed, np.float32), bias, "jumprelu", threshold=np.ones(1))
        for seed in range(3)
    }
    folded = dictionary.comparable(saes)
    x = rng.standard_normal((7, 5)).astype(np.float32)
    members = pd.DataFrame({"group": 0, "seed": range(3), "latent": 0})
    mean = dictionary.consensus(folded, members)
    pre = {seed: (x - bias) @ sae.encoder.T + sae.encoder_bias for seed, sae in saes.items()}
    norms = {seed: np.linalg.norm(sae.decoder) for seed, sae in saes.items()}
    expected = np.mean([pre[seed] * norms[seed] for seed in range(3)], axis=0)
    assert np.allclose(x @ mean.encoder.T + mean.encoder_bias, expected, atol=1e-4)
    assert mean.threshold == pytest.approx(np.mean(list(norms.values())))
    assert np.linalg.norm(mean.decoder) == pytest.approx(1)
    medoid = dictionary.consensus(folded, members, "medoid")
    assert np.allclose(medoid.encoder, folded[2].encoder), "the third lies between the others"


def test_mistakes(planted: Planted, tmp_path: Path):
    with pytest.raises(StudyError, match="2 SAEs given; groups over seeds need at least 3"):
        build_consensus(sae=planted.files["sae"][:2], match=planted.match[:1], out=tmp_path)
    with pytest.raises(StudyError, match="the match of 2 and 3 is missing"):
        build_consensus(sae=planted.files["sae"], match=planted.match[:-1], out=tmp_path)
    with pytest.raises(StudyError, match="is given twice, or one of them is not among the SAEs"):
        build_consensus(sae=planted.files["sae"][:3], match=planted.match, out=tmp_path)
