"""`overlap`: two SAEs give the row of the study's table; single dictionaries and SAEs of unequal size."""

import types
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sae_stability.errors import StudyError
from sae_stability.files import read_table
from sae_stability.match import overlap
from sae_stability.match.absolute import mean_absolute_cosine
from sae_stability.match.pairs import dictionaries
from sae_stability.match.rows import prepare


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def cosines(a, b) -> np.ndarray:
    a, b = (x.astype(np.float32).astype(np.float64) for x in (a, b))
    norms = (np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    a, b = (np.divide(x, norm, out=np.zeros_like(x), where=norm > 0) for x, norm in zip((a, b), norms, strict=True))
    return a @ b.T


@pytest.mark.parametrize("latents", ["all", "live"])
def test_two_saes_give_the_row_of_the_pairs_table(planted, latents):
    _, call, _, tables = planted
    saes = dict(call["sae"])
    alive = {seed: read_table(path, columns=["alive"])[0]["alive"].to_numpy() for seed, path in call["latents"]}
    for a, b in combinations(saes, 2):
        result = overlap(saes[a], saes[b], 0.7, alive_a=alive[a], alive_b=alive[b], threads=1)
        row = tables["pairs"].query("a == @a and b == @b and source == 'trained' and latents == @latents").iloc[0]
        for name, value in vars(getattr(result, latents)).items():
            assert value == row[name], name
        n = len(alive[a])
        assert (result.encoder.gap / n, result.decoder.gap / n) == (row["gap_encoder"], row["gap_decoder"])
        assert result.gap == max(result.encoder.gap, result.decoder.gap)
        assert result.pw_mcc_signed == result.all.mean_cosine_decoder
        assert getattr(result, latents).count("shared") == round(row["shared"] * row["n"])


def test_paths_objects_and_tensors_give_the_same(planted):
    import torch

    _, call, _, _ = planted
    saes = dict(call["sae"])
    paths = saes[1], str(saes[4])
    expected = overlap(*paths, threads=1)
    assert expected.live is None
    for kind in (np.asarray, torch.from_numpy):
        in_memory = [
            types.SimpleNamespace(**{side: kind(rows) for side, rows in dictionaries(path).items()}) for path in paths
        ]
        assert overlap(*in_memory, threads=1).all == expected.all
    assert overlap(*map(dictionaries, paths), threads=1).all == expected.all
    flags = torch.ones(120, dtype=torch.bool)
    assert overlap(*paths, alive_a=flags, threads=1).live == expected.all


def test_single_dictionaries_have_the_statistics_of_one_side():
    a = drawn(40, 32)
    b = np.concatenate([a[:25], drawn(15, 32, seed=1)])[::-1]
    result = overlap(a, b, threads=1)
    assert (result.n_latents_a, result.n_latents_b, result.encoder) == (40, 40, None)
    x = cosines(a, b)
    assert result.all.decoder_only == 25 / 40
    assert result.all.count("max") == (x.max(1) >= 0.7).sum()
    assert result.all.mean_cosine_decoder == pytest.approx(x[linear_sum_assignment(-x)].mean(), abs=1e-12)
    assert result.all.mean_best_decoder == pytest.approx(x.max(1).mean(), abs=1e-12)
    assert result.all.mean_best_decoder_reverse == pytest.approx(x.max(0).mean(), abs=1e-12)
    missing = {name for name, value in vars(result.all).items() if value is None}
    assert missing == {
        *("shared", "joint", "same_counterpart", "mean_cosine_encoder", "mean_best_encoder"),
        "mean_best_encoder_reverse",
    }


@pytest.mark.parametrize(("n", "m"), [(30, 50), (50, 30)])
def test_saes_of_unequal_size_are_counted_over_a(n, m):
    shared = drawn(20, 32)
    a, b = (np.concatenate([shared, drawn(size - 20, 32, seed=size)]) for size in (n, m))
    sae_a, sae_b = (types.SimpleNamespace(encoder=rows + 0.01, decoder=rows) for rows in (a, b))
    alive_b = np.arange(m) >= 5
    result = overlap(sae_a, sae_b, alive_b=alive_b, threads=1)
    assert (result.n_latents_a, result.n_latents_b) == (n, m)
    assert (result.all.n, result.all.shared, result.all.count("shared")) == (n, 20 / n, 20)
    assert (result.live.n, result.live.shared) == (n, 15 / n)
    x = cosines(a, b)
    assert result.all.mean_cosine_decoder == pytest.approx(x[linear_sum_assignment(-x)].mean(), abs=1e-12)
    assert result.all.mean_best_decoder_reverse == pytest.approx(x.max(0).mean(), abs=1e-12)
    assert result.live.mean_best_decoder_reverse == pytest.approx(x.max(0)[alive_b].mean(), abs=1e-12)


def dictionary(kind: str, n: int, d: int, seed: int) -> np.ndarray:
    rows = drawn(n, d, seed=seed)
    if kind == "copies":
        rows[: n // 3] = rows[0]
    if kind == "zeros":
        rows[: n // 4] = 0
    if kind == "planted":
        rows[: n // 2] = 0.3 * rows[: n // 2] - drawn(n, d, seed=9)[: n // 2] * (-1) ** seed
    return rows


@pytest.mark.parametrize("kind", ["random", "copies", "zeros", "planted"])
@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 3), (200, 200, 16), (90, 170, 8), (170, 90, 8)])
def test_the_mean_absolute_cosine_equals_that_of_a_dense_solver(kind, n, m, d):
    a, b = dictionary(kind, n, d, 1), dictionary(kind, m, d, 2)
    x = np.abs(cosines(a, b))
    result = mean_absolute_cosine(prepare(a, "a"), prepare(b, "b"), threads=1)
    assert result == pytest.approx(x[linear_sum_assignment(-x)].mean(), abs=1e-9)


def test_only_the_absolute_pw_mcc_ignores_signs():
    a = drawn(40, 64)
    result = overlap(a, -a, threads=1)
    assert result.pw_mcc_absolute == pytest.approx(1, abs=1e-12)
    assert result.pw_mcc_signed < 0.5


def test_an_overlap_prints_as_a_summary():
    a = drawn(30, 16)
    sae_a, sae_b = (types.SimpleNamespace(encoder=a, decoder=a) for _ in range(2))
    text = str(overlap(sae_a, sae_b, threads=1))
    assert "all 30 latents of A: shared 1.000" in text
    assert "every latent counts" in text
    assert "PW-MCC of the decoder: 1.000 signed, 1.000 absolute" in text
    text = repr(overlap(a, a, alive_a=np.arange(30) < 20, threads=1))
    assert "live 20 latents of A: matched 1.000, nearest 1.000" in text
    assert "shared" not in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda a: overlap(types.SimpleNamespace(encoder=a, decoder=a), a),
            "one argument is an SAE, the other a single dictionary",
        ),
        (lambda a: overlap(a, a[:, :3]), "a has rows of width 8, b of width 3"),
        (lambda a: overlap(a, a, 1.5), "threshold is 1.5; it must be a cosine from 0 to 1"),
        (lambda a: overlap(a, a, "a"), "threshold is 'a'; it must be a cosine from 0 to 1"),
        (lambda a: overlap(a, a, threads=-1), "threads: -1 given; it must be at least 1"),
        (lambda a: overlap(a, a, device="tpu"), "device: 'tpu' given; rows are matched on 'cpu', 'cuda' or 'cuda:N'"),
        (lambda a: overlap({"dec": a}, {"dec": a}), "a: no 'encoder' among dec; a mapping must hold"),
        (lambda a: overlap({"encoder": a[1:], "decoder": a}, a), r"a: encoder \(9, 8\) and decoder \(10, 8\) differ"),
        (lambda a: overlap(a, a, alive_a=[True]), r"alive_a: bool values of shape \(1,\); give 10 booleans"),
        (lambda a: overlap(a, a, alive_b=np.ones(10)), "alive_b: float64 values"),
        (lambda a: overlap(a, a * np.nan), "b: row 0 holds NaN or infinity"),
        (lambda a: overlap("no-such-folder", a), "no-such-folder: no such file or folder"),
    ],
)
def test_inputs_that_cannot_be_compared_are_named(call, message):
    with pytest.raises(StudyError, match=message):
        call(drawn(10, 8))
