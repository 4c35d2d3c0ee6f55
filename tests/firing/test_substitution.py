"""Swaps and pools: every number by dense arithmetic, and planted dictionaries."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.firing.substitution import STEPS
from sae_stability.firing.substitution_job import measure_substitution
from sae_stability.sae import formats, load
from sae_stability.sae.weights import Weights
from tests.firing.conftest import N_LATENTS, Planted

D = N_LATENTS  # width of the planted rows
N = 10  # latents of each SAE here
SHARED = 6  # of these, latents that both SAEs have


def sae_file(folder: Path, rows: np.ndarray, activation: str = "topk") -> Path:
    zeros = np.zeros(D, np.float32), np.zeros(len(rows), np.float32)
    weights = Weights(rows, rows, zeros[1], zeros[0] + 0.1, activation=activation, k=3)
    formats.write(folder, weights, "own")
    return folder


@pytest.fixture(scope="module")
def measured(planted: Planted, tmp_path_factory) -> dict:
    folder, rng = tmp_path_factory.mktemp("substitution"), np.random.default_rng(3)
    a, b = rng.standard_normal((2, N, D)).astype(np.float32)
    order = rng.permutation(N)
    b[order[:SHARED]] = a[:SHARED]
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    cosine = (a * b[order]).sum(1)
    matches = {"latent": np.arange(N), "counterpart_decoder": order, "counterpart_encoder": order}
    matches |= {"cosine_decoder": cosine, "cosine_encoder": cosine}
    write_table(folder / "match.parquet", pd.DataFrame(matches))
    saes = [("0", sae_file(folder / "a", a)), ("1", sae_file(folder / "b", b))]
    files = {name: [("0-1", folder / f"{name}.parquet")] for name in ("out", "curve_out", "pooling_out")}
    measure_substitution(sae=saes, chunk=planted.chunk, match=[("0-1", folder / "match.parquet")], **files)
    found = {name: read_table(entry[0][1])[0] for name, entry in files.items()}
    return found | {"x": planted.codes, "a": load(folder / "a"), "b": load(folder / "b")}


def parts(sae, x: np.ndarray) -> np.ndarray:
    """(rows, latents, width): what each latent adds on each row."""
    return sae.encode(x).numpy()[:, :, None].astype(float) * sae.decoder.numpy()[None]


def test_every_change_equals_dense_arithmetic(measured: dict):
    x, table = measured["x"].astype(float), measured["out"]
    of_a, of_b = parts(measured["a"], measured["x"]), parts(measured["b"], measured["x"])
    error = x - of_a.sum(1) - 0.1
    variance = ((x - x.mean(0)) ** 2).sum()
    for row in table.itertuples():
        own = of_a[:, row.latent]
        for name, other in (("ablation", 0), ("swap", of_b[:, row.counterpart]), ("floor", of_b[:, row.random])):
            change = (((error + own - other) ** 2).sum() - (error**2).sum()) / variance
            assert getattr(row, name) == pytest.approx(change, abs=1e-5), name
        assert row.fired == (own != 0).any(1).sum()
    kept = table[table.ablation > 0]
    assert np.allclose(kept.quality, 1 - kept.swap / kept.ablation)


def test_a_curve_ends_where_everything_is_swapped(measured: dict):
    x, curve = measured["x"].astype(float), measured["curve_out"]
    of_a, of_b = parts(measured["a"], measured["x"]).sum(1), parts(measured["b"], measured["x"]).sum(1)
    variance = ((x - x.mean(0)) ** 2).sum()
    ends = {name: rows.fvu.to_numpy()[[0, -1]] for name, rows in curve.groupby("change")}
    start = ((x - of_a - 0.1) ** 2).sum() / variance
    assert ends["ablation"] == pytest.approx([start, ((x - 0.1) ** 2).sum() / variance], abs=1e-5)
    whole = ((x - of_b - 0.1) ** 2).sum() / variance
    assert ends["swap"] == pytest.approx([start, whole], abs=1e-5)
    assert ends["floor"] == pytest.approx([start, whole], abs=1e-5)
    assert len(curve) == 3 * (STEPS + 1)


def test_pools_equal_a_greedy_search_by_least_squares(measured: dict):
    x, table = measured["x"], measured["pooling_out"].set_index("pool")
    codes = [measured[name].encode(x).numpy() for name in "ab"]
    decoder = np.concatenate([measured[name].decoder.numpy() for name in "ab"]).astype(float)
    counterpart = measured["out"].set_index("latent").counterpart
    unshared = np.setdiff1d(np.arange(N), counterpart[:SHARED])
    target, loss = x.astype(float) - 0.1, 0.0
    for row in range(len(x)):
        own = np.flatnonzero(codes[0][row])
        candidates = [*own, *(N + unshared[codes[1][row, unshared] != 0])]
        chosen: list[int] = []
        left = (target[row] ** 2).sum()
        for _ in own:
            tries = {c: _residual(decoder[[*chosen, c]], target[row]) for c in candidates if c not in chosen}
            best = min(tries, key=tries.get)
            chosen.append(best)
            left = tries[best]
        loss += left
    variance = ((x - x.mean(0)).astype(float) ** 2).sum()
    assert table.fvu["all unshared"] == pytest.approx(loss / variance, rel=1e-3)
    assert table.n_added.to_dict() == {
        **{"none": 0, "unshared": N - SHARED, "shared": N - SHARED, "random directions": N - SHARED},
        "all unshared": N - SHARED,
    }
    assert table.fvu["unshared"] < table.fvu["none"]


def _residual(rows: np.ndarray, target: np.ndarray) -> float:
    fit = np.linalg.lstsq(rows.T, target, rcond=None)[0]
    return float(((target - fit @ rows) ** 2).sum())


def test_equal_saes_are_worth_the_same(planted: Planted, tmp_path):
    """A is its own counterpart: swaps change nothing, and shared latents add nothing to a pool."""
    order = np.random.default_rng(1).permutation(N_LATENTS)
    matches = {"latent": np.arange(N_LATENTS), "counterpart_decoder": np.argsort(order)}
    matches |= {"counterpart_encoder": np.argsort(order)} | dict.fromkeys(("cosine_decoder", "cosine_encoder"), 1.0)
    write_table(tmp_path / "match.parquet", pd.DataFrame(matches))
    measure_substitution(
        sae=[("0", planted.sae("a", np.arange(N_LATENTS))), ("1", planted.sae("b", order))],
        chunk=planted.chunk,
        match=[("0-1", tmp_path / "match.parquet")],
        out=[("0-1", tmp_path / "out.parquet")],
        pooling_out=[("0-1", tmp_path / "pooling.parquet")],
    )
    table, _ = read_table(tmp_path / "out.parquet")
    assert table.shared.all()
    assert np.allclose(table.swap, 0, atol=1e-5)
    assert np.allclose(table.quality[table.ablation > 0], 1, atol=1e-4)
    assert table.floor_quality[table.counterpart != table.random].max() < 0.5
    pools, _ = read_table(tmp_path / "pooling.parquet")
    assert (pools.n_added == 0).all()


@pytest.mark.parametrize(("name", "message"), [("0-2", "no SAE is called 2"), ("5", "needs --match")])
def test_a_pair_that_is_not_given(planted: Planted, tmp_path, name: str, message: str):
    with pytest.raises(StudyError, match=message):
        measure_substitution(
            sae=list(itertools.islice([("0", tmp_path), ("1", tmp_path)], 2)),
            chunk=planted.chunk,
            match=[("0-2", tmp_path / "match.parquet")],
            out=[(name, tmp_path / "out.parquet")],
        )
