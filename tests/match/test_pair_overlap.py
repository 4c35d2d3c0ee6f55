"""Two SAEs in memory: the numbers of the study's tables, and what single or unequal dictionaries have."""

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
    alive = {seed: read_table(path, columns=["alive"])[0]["alive"].to_numpy() for seed, path in call["latents"].items()}
    for a, b in combinations(call["saes"], 2):
        found = overlap(call["saes"][a], call["saes"][b], 0.7, alive_a=alive[a], alive_b=alive[b], threads=1)
        row = tables["pairs"].query("a == @a and b == @b and source == 'trained' and latents == @latents").iloc[0]
        for name, value in vars(getattr(found, latents)).items():
            assert value == row[name], name
        n = len(alive[a])
        assert (found.encoder.gap / n, found.decoder.gap / n) == (row["gap_encoder"], row["gap_decoder"])
        assert found.gap == max(found.encoder.gap, found.decoder.gap)
        assert found.pw_mcc_signed == found.all.mean_cosine_decoder
        assert getattr(found, latents).count("shared") == round(row["shared"] * row["n"])


def test_paths_objects_and_tensors_give_the_same(planted):
    import torch

    _, call, _, _ = planted
    paths = call["saes"][1], str(call["saes"][4])
    expected = overlap(*paths, threads=1)
    assert expected.live is None
    for kind in (np.asarray, torch.from_numpy):
        saes = [
            types.SimpleNamespace(**{side: kind(rows) for side, rows in dictionaries(path).items()}) for path in paths
        ]
        assert overlap(*saes, threads=1).all == expected.all
    flags = torch.ones(120, dtype=torch.bool)
    assert overlap(*paths, alive_a=flags, threads=1).live == expected.all


def test_single_dictionaries_have_what_one_side_has():
    a = drawn(40, 32)
    b = np.concatenate([a[:25], drawn(15, 32, seed=1)])[::-1]
    found = overlap(a, b, threads=1)
    assert (found.n_latents_a, found.n_latents_b, found.encoder) == (40, 40, None)
    x = cosines(a, b)
    assert found.all.decoder_only == 25 / 40
    assert found.all.count("max") == (x.max(1) >= 0.7).sum()
    assert found.all.mean_cosine_decoder == pytest.approx(x[linear_sum_assignment(-x)].mean(), abs=1e-12)
    assert found.all.mean_best_decoder == pytest.approx(x.max(1).mean(), abs=1e-12)
    assert found.all.mean_best_decoder_reverse == pytest.approx(x.max(0).mean(), abs=1e-12)
    nothing = {name for name, value in vars(found.all).items() if value is None}
    assert nothing == {
        *("shared", "joint", "same_counterpart", "mean_cosine_encoder", "mean_best_encoder"),
        "mean_best_encoder_reverse",
    }


@pytest.mark.parametrize(("n", "m"), [(30, 50), (50, 30)])
def test_saes_of_unequal_size_are_counted_over_a(n, m):
    shared = drawn(20, 32)
    a, b = (np.concatenate([shared, drawn(size - 20, 32, seed=size)]) for size in (n, m))
    one, other = (types.SimpleNamespace(encoder=rows + 0.01, decoder=rows) for rows in (a, b))
    alive_b = np.arange(m) >= 5
    found = overlap(one, other, alive_b=alive_b, threads=1)
    assert (found.n_latents_a, found.n_latents_b) == (n, m)
    assert (found.all.n, found.all.shared, found.all.count("shared")) == (n, 20 / n, 20)
    assert (found.live.n, found.live.shared) == (n, 15 / n)
    x = cosines(a, b)
    assert found.all.mean_cosine_decoder == pytest.approx(x[linear_sum_assignment(-x)].mean(), abs=1e-12)
    assert found.all.mean_best_decoder_reverse == pytest.approx(x.max(0).mean(), abs=1e-12)
    assert found.live.mean_best_decoder_reverse == pytest.approx(x.max(0)[alive_b].mean(), abs=1e-12)


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
def test_the_absolute_mean_is_that_of_the_dense_solver(kind, n, m, d):
    a, b = dictionary(kind, n, d, 1), dictionary(kind, m, d, 2)
    x = np.abs(cosines(a, b))
    found = mean_absolute_cosine(prepare(a, "a"), prepare(b, "b"), threads=1)
    assert found == pytest.approx(x[linear_sum_assignment(-x)].mean(), abs=1e-9)


def test_signs_do_not_matter_to_the_absolute_mean_alone():
    a = drawn(40, 64)
    found = overlap(a, -a, threads=1)
    assert found.pw_mcc_absolute == pytest.approx(1, abs=1e-12)
    assert found.pw_mcc_signed < 0.5


def test_it_can_be_read():
    a = drawn(30, 16)
    one, other = (types.SimpleNamespace(encoder=a, decoder=a) for _ in range(2))
    text = str(overlap(one, other, threads=1))
    assert "all 30 latents of A: shared 1.000" in text
    assert "every latent counts" in text
    assert "PW-MCC of the decoder: 1.000 signed, 1.000 absolute" in text
    text = repr(overlap(a, a, alive_a=np.arange(30) < 20, threads=1))
    assert "live 20 latents of A: matched 1.000, nearest 1.000" in text
    assert "shared" not in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: overlap(types.SimpleNamespace(encoder=a, decoder=a), a), "one is an SAE and the other a single"),
        (lambda a: overlap(a, a[:, :3]), "a has rows of width 8, b of width 3"),
        (lambda a: overlap(a, a, 1.5), "threshold is 1.5; it must be a cosine from 0 to 1"),
        (lambda a: overlap(a, a, alive_a=[True]), r"alive_a: bool values of shape \(1,\); must be 10 times true or fa"),
        (lambda a: overlap(a, a, alive_b=np.ones(10)), "alive_b: float64 values"),
        (lambda a: overlap(a, a * np.nan), "b: row 0 holds NaN or infinity"),
        (lambda a: overlap("no-such-folder", a), "no-such-folder/sae.safetensors: no such file"),
    ],
)
def test_what_cannot_be_compared_is_named(call, message):
    with pytest.raises(StudyError, match=message):
        call(drawn(10, 8))
