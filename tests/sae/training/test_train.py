"""Training of whole SAEs on planted data: what determines the result, what must not, and what is found."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sae_stability import sae
from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_table
from sae_stability.sae.training.history import History
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.steps.protocol import StepResult
from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
from sae_stability.sae.training.train import train_chunk
from sae_stability.sae.training.workers import Workers


def same_bytes(a: Path, b: Path, names=("sae.safetensors", "cfg.json", "metrics.json", "history.parquet")) -> bool:
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


def test_training_writes_a_complete_folder_and_its_loss_falls(planted, train) -> None:
    out = train("a", planted.settings)
    history, _ = read_table(out / "history.parquet")
    assert history.fvu.iloc[-1] < 0.5 * history.fvu.iloc[0]
    assert history.step.iloc[-1] == planted.settings.total_steps == 192
    assert history.l0.max() <= 3
    cfg = read_json(out / "cfg.json")
    for key in ("architecture", "n_latents", "d_model", "k", "hookpoint", "model", "init_seed", "order_seed", "tokens"):
        assert key in cfg
    tensors = sae.arrays(out)
    assert tensors["encoder"].shape == (64, 24)
    np.testing.assert_allclose(np.linalg.norm(tensors["decoder"], axis=1), 1, atol=1e-6)


def test_two_runs_give_the_same_bytes_whatever_the_number_of_threads(planted, train) -> None:
    a = train("a", planted.settings)
    assert same_bytes(a, train("b", planted.settings))
    assert same_bytes(a, train("c", planted.settings, threads=3))


def test_chunk_by_chunk_equals_one_uninterrupted_loop(planted, train) -> None:
    settings = planted.settings
    out = train("a", settings)
    data = reader.Chunk(planted.chunks[0])
    normalisation = Normalisation.from_manifest("centre-scale", data.manifest)
    weights = initial_weights(settings.n_latents, data.d_model, settings.init_seed, settings.hookpoint)
    first = next(reader.batches(planted.chunks[0], batch_size=128, order_seed=0)).double().mean(0).numpy()
    weights["decoder_bias"] = (first - normalisation.mean) / normalisation.scale
    with Workers(1) as workers:
        training = CpuTopKStep(weights, settings, normalisation, workers)
        done = 0
        for chunk in planted.chunks:
            for batch in reader.batches(chunk, batch_size=128, epochs=3, order_seed=0):
                training.step(batch, settings.rate(done))
                done += 1
        expected = normalisation.fold({name: value.numpy() for name, value in training.weights().items()})
    for name, value in sae.arrays(out).items():
        np.testing.assert_array_equal(value, expected[name])


def test_an_init_seed_changes_only_weights_and_an_order_seed_only_the_order(planted, train, one_chunk) -> None:
    base = train("base", one_chunk)
    init = train("init", replace(one_chunk, init_seed=1))
    order = train("order", replace(one_chunk, order_seed=1))
    batches = [read_json(out / "metrics.json")["batches_sha256"] for out in (base, init, order)]
    assert batches[0] == batches[1] != batches[2]
    assert not np.allclose(sae.arrays(base)["encoder"], sae.arrays(init)["encoder"])
    starts = [initial_weights(8, 4, seed, "here")["encoder"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert np.abs(starts[0] - starts[2]).max() > 0.1
    assert np.abs(starts[0] - initial_weights(8, 4, 0, "there")["encoder"]).max() > 0.1


def test_one_init_seed_gives_the_same_first_weights_whatever_the_order(planted, train, one_chunk) -> None:
    """SAEs that differ only in the order seed start alike; with another init and order seed nothing is alike."""
    # Such a small step is lost in rounding, so the weights keep their initial values.
    still = replace(one_chunk, learning_rate=1e-30, normalisation="none")
    outs = [
        train(f"{init}-{order}", replace(still, init_seed=init, order_seed=order))
        for init, order in ((0, 0), (0, 1), (1, 1))
    ]
    base, order, both = (sae.arrays(out)["encoder"] for out in outs)
    np.testing.assert_array_equal(base, initial_weights(still.n_latents, base.shape[1], 0, "here")["encoder"])
    np.testing.assert_array_equal(base, order)
    assert np.abs(base - both).max() > 0.1
    batches = [read_json(out / "metrics.json")["batches_sha256"] for out in outs]
    assert batches[0] != batches[1] == batches[2]
    cfgs = [read_json(out / "cfg.json") for out in outs]
    assert [(cfg["init_seed"], cfg["order_seed"]) for cfg in cfgs] == [(0, 0), (0, 1), (1, 1)]


def test_two_init_seeds_read_the_same_rows_in_the_same_order(planted, train, monkeypatch) -> None:
    """`batches_sha256` covers two rows per batch; here every row of every batch is compared."""
    seen: list[bytes] = []

    class WholeBatches(History):
        def add(self, step, batch, result):
            seen.append(hashlib.sha256(batch.numpy(force=True).tobytes()).digest())
            return super().add(step, batch, result)

    monkeypatch.setattr("sae_stability.sae.training.train.History", WholeBatches)
    read = []
    for name, change in [("a", {}), ("b", {"init_seed": 1}), ("c", {"order_seed": 1})]:
        train(name, replace(planted.settings, **change))
        read.append(seen[:])
        seen.clear()
    assert len(set(read[0])) == planted.settings.total_steps
    assert read[0] == read[1]
    assert not set(read[0]) & set(read[2])


def test_a_planted_dictionary_is_recovered_by_two_seeds_and_they_match(planted, train) -> None:
    settings = replace(planted.settings, n_latents=72)
    decoders = [sae.arrays(train(f"s{seed}", replace(settings, init_seed=seed)))["decoder"] for seed in (0, 1)]
    for decoder in decoders:
        assert (planted.dictionary @ decoder.T).max(axis=1).mean() > 0.95
    shared = (decoders[0] @ decoders[1].T).max(axis=1) > 0.9
    assert shared.sum() > 0.85 * len(planted.dictionary)


def test_decoder_rows_keep_norm_one_and_exactly_k_latents_fire_every_step(planted, one_chunk) -> None:
    weights = initial_weights(64, 24, 0, "here") | {"decoder_bias": np.zeros(24, np.float32)}
    nothing = Normalisation(np.zeros(24, np.float32), 1.0)
    with Workers(1) as workers:
        training = CpuTopKStep(weights, one_chunk, nothing, workers)
        for batch in reader.batches(planted.chunks[0], batch_size=128, steps=30):
            result = training.step(batch, 1e-2)
            np.testing.assert_allclose(training.weights()["decoder"].norm(dim=1), 1, atol=1e-6)
            assert result.l0 <= 3
        assert result.l0 == 3


def test_auxk_revives_dead_latents(planted, one_chunk) -> None:
    """Half of the latents start with a bias that keeps them from firing; only the auxiliary loss can reach them."""
    weights = initial_weights(64, 24, 0, "here") | {"decoder_bias": np.full(24, 0.3, np.float32)}
    weights["encoder_bias"][:32] = -0.3
    nothing = Normalisation(np.zeros(24, np.float32), 1.0)
    dead = {}
    for alpha in (0.0, 1 / 2):
        settings = replace(one_chunk, auxk_alpha=alpha, dead_tokens=256)
        with Workers(1) as workers:
            training = CpuTopKStep(weights, settings, nothing, workers)
            for batch in reader.batches(planted.chunks[0], batch_size=128, steps=200):
                result = training.step(batch, 3e-3)
        dead[alpha] = result.dead
    assert dead[0.0] >= 10
    assert dead[0.5] <= dead[0.0] / 4


def test_folded_weights_on_raw_activations_equal_trained_weights_on_normalised_ones(planted) -> None:
    random = np.random.default_rng(3)
    weights = initial_weights(32, 24, 0, "x")
    weights |= {"encoder_bias": random.normal(size=32) * 0.2, "decoder_bias": random.normal(size=24)}
    normalisation = Normalisation(random.normal(size=24).astype(np.float32), 3.5)
    x = random.normal(size=(10, 24)) * 4

    def forward(w: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        pre = np.maximum((x - w["decoder_bias"]) @ w["encoder"].T + w["encoder_bias"], 0)
        kept = np.where(pre >= np.sort(pre, axis=1)[:, -4][:, None], pre, 0)
        return kept @ w["decoder"] + w["decoder_bias"]

    unfolded = forward(weights, (x - normalisation.mean) / normalisation.scale)
    expected = unfolded * normalisation.scale + normalisation.mean
    np.testing.assert_allclose(forward(normalisation.fold(weights), x), expected, rtol=1e-5, atol=1e-5)


def test_tensorboard_files_are_written_on_demand(planted, train, tmp_path, one_chunk) -> None:
    pytest.importorskip("tensorboard")
    train("a", one_chunk, tensorboard=tmp_path / "events")
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))


class OnDevice(CpuTopKStep):
    """Like a step on a GPU: results are tensors."""

    def step(self, batch, rate):
        result = super().step(batch, rate)
        return StepResult(*(torch.tensor(value, dtype=torch.float64) for value in result))


def test_results_that_are_read_late_are_the_same(planted, train, one_chunk, monkeypatch) -> None:
    at_once = train("at-once", one_chunk)
    monkeypatch.setattr("sae_stability.sae.training.steps.topk_cpu.CpuTopKStep", OnDevice)
    assert same_bytes(at_once, train("late", one_chunk))


def test_a_loss_that_is_read_late_names_its_own_step(planted, tmp_path, one_chunk, monkeypatch) -> None:
    from tests.sae.training.chunks import planted_rows, write_chunk

    monkeypatch.setattr("sae_stability.sae.training.steps.topk_cpu.CpuTopKStep", OnDevice)
    rows = planted_rows(planted.dictionary, 128 * 8, active=3, seed=0)
    settings = replace(one_chunk, tokens=len(rows), chunk_tokens=len(rows), epochs=1, warmup_steps=0)
    chunk = write_chunk(tmp_path / "chunk-0000", rows)
    batches = reader.batches(chunk, batch_size=128, rows=len(rows), order_seed=settings.order_seed)
    fifth = next(batch for i, batch in enumerate(batches) if i == 5)
    rows[(rows == fifth[7].numpy()).all(axis=1)] = np.nan
    chunk = write_chunk(tmp_path / "again" / "chunk-0000", rows)
    with pytest.raises(StudyError, match="loss is nan at step 5 "):
        train_chunk(
            chunk=chunk,
            chunk_index=0,
            settings=settings,
            first_chunk_manifest=planted.chunks[0] / "manifest.json",
            out=tmp_path / "sae",
            progress=False,
        )
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 65}, "k: 65 given, above n_latents = 64"),
        ({"architecture": "topkk"}, "architecture: 'topkk' given; allowed: .*topk"),
        ({"tokens": 100}, "no whole batch of 128"),
        ({"warmup_steps": 1000}, "warmup_steps: 1000 given, but training has 192 steps"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 given; it must be above 0"),
        ({"normalisation": "centre"}, "allowed: none, centre-scale"),
        ({"batch_size": 1}, "batch_size: 1 given; one activation has no variance"),
        ({"k": 2.5}, "k: 2.5 given; it must be a whole number"),
        ({"n_latents": 64.5}, "n_latents: 64.5 given; it must be a whole number"),
        ({"batch_size": 100.5}, "batch_size: 100.5 given; it must be a whole number"),
        ({"architecture": "matryoshka", "groups": 2.5}, "groups: 2.5 given; it must be a whole number"),
        ({"auxk_alpha": float("nan")}, "auxk_alpha: nan given; it must be a finite number"),
        ({"learning_rate": float("inf")}, "learning_rate: inf given; it must be a finite number"),
        ({"architecture": "jumprelu", "bandwidth": float("nan")}, "bandwidth: nan given"),
        ({"learning_rate": "fast"}, "learning_rate: fast given; it must be a finite number"),
    ],
)
def test_impossible_settings_are_refused(planted, change, message) -> None:
    with pytest.raises(StudyError, match=message):
        replace(planted.settings, **change)


def test_numpy_numbers_are_accepted_as_settings(planted) -> None:
    change = {"k": np.int64(3), "learning_rate": np.float64(1e-3), "auxk_alpha": 0}
    assert replace(planted.settings, **change).digest() == planted.settings.digest()


def test_a_state_of_other_settings_is_refused(planted, train, tmp_path) -> None:
    train("a", planted.settings)
    other = replace(planted.settings, init_seed=5)
    with pytest.raises(StudyError, match="state of other settings"):
        train_chunk(
            chunk=planted.chunks[1],
            chunk_index=1,
            settings=other,
            first_chunk_manifest=planted.chunks[0] / "manifest.json",
            previous=tmp_path / "a-0.safetensors",
            progress=False,
        )


def test_schedule_warms_up_then_falls_to_zero(planted) -> None:
    settings = replace(planted.settings, n_latents=2**12, learning_rate=1.0)
    rates = [settings.rate(step) for step in range(settings.total_steps)]
    assert settings.peak_learning_rate == 2.0
    assert rates[0] == 0
    assert rates[5] == 2.0 == max(rates)
    assert rates[-1] == pytest.approx(2 / 187)
    assert pd.Series(rates[5:]).is_monotonic_decreasing


def test_torch_steps_equal_numba_steps_in_float32(planted, one_chunk) -> None:
    from sae_stability.sae.training.steps.topk_torch import TorchTopKStep

    weights = initial_weights(64, 24, 0, "here") | {"decoder_bias": np.full(24, 0.3, np.float32)}
    nothing = Normalisation(np.zeros(24, np.float32), 1.0)
    with Workers(1) as workers:
        steps = [
            CpuTopKStep(weights, one_chunk, nothing, workers),
            TorchTopKStep(weights, one_chunk, nothing, torch.device("cpu")),
        ]
        for batch in reader.batches(planted.chunks[0], batch_size=128, steps=10):
            fvu = [step.step(batch, 1e-3).fvu for step in steps]
            assert fvu[0] == pytest.approx(fvu[1], rel=1e-4)
