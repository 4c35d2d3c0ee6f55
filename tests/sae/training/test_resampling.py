"""Resampling: at its steps, dead latents are reinitialised from badly reconstructed inputs; live ones do not change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sae_stability.activations import reader
from sae_stability.sae.training import resampling
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.training.train import SaeJob, train_block, train_chunk
from sae_stability.sae.training.workers import Workers
from tests.sae.training.test_architectures import start as fresh

DEAD = [3, 17, 40]
TIMES = [24, 48, 72, 96]  # of the 192 steps of `planted.settings`


@pytest.fixture
def settings(planted):
    return replace(planted.settings, architecture="gated")


@pytest.fixture
def workers():
    with Workers(1) as workers:
        yield workers


def start(planted, settings, workers, dead=()):
    """A Gated SAE before its first step, with the gates of the `dead` latents shut, and its batches."""
    data = reader.Chunk(planted.chunks[0])
    normalisation = Normalisation.from_manifest("centre-scale", data.manifest)
    weights = initial_weights(settings.n_latents, data.d_model, settings.init_seed, settings.hookpoint)
    weights["decoder_bias"] = np.zeros(data.d_model, np.float32)
    weights["encoder_bias"][list(dead)] = -100
    step = architecture("gated").make_step(weights, settings, normalisation, torch.device("cpu"), workers)
    return step, reader.batches(planted.chunks[0], batch_size=settings.batch_size, epochs=6, order_seed=0)


def copy(step) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in step.state().items()}


def resampled(step, inputs, error, dead=DEAD) -> tuple[dict, dict]:
    """The state before and after `dead` latents are resampled."""
    step.silent[:] = 0
    step.silent[dead] = resampling.dead_after(step.settings)
    before = copy(step)
    resampling.resample(step, inputs, error)
    return before, copy(step)


@pytest.fixture
def warm(planted, settings, workers):
    """A Gated SAE after some steps, and random inputs and errors to resample from."""
    step, batches = start(planted, settings, workers, DEAD)
    for _ in range(20):
        step.step(next(batches), 1e-3)
    random = torch.Generator().manual_seed(0)
    return step, torch.randn(128, 24, generator=random), torch.randn(128, 24, generator=random)


def test_dead_latents_are_revived_at_the_first_resampling_and_point_at_inputs(planted, settings, workers) -> None:
    step, batches = start(planted, settings, workers, DEAD)
    for _ in range(TIMES[0] - 1):
        step.step(next(batches), settings.rate(step.steps))
    assert (step.parameters["encoder_bias"][DEAD] < -90).all()
    batch = next(batches)
    inputs = (batch - step.mean) / step.scale - step.parameters["decoder_bias"]
    step.step(batch, settings.rate(step.steps))
    cosines = step.parameters["decoder"][DEAD] @ (inputs / inputs.norm(dim=1, keepdim=True)).T
    assert (cosines.max(dim=1).values > 0.9999).all()
    assert len(set(cosines.argmax(dim=1).tolist())) == len(DEAD)
    step.step(next(batches), settings.rate(step.steps))
    assert (step.silent[DEAD] == 0).all()


def test_only_dead_latents_change_and_get_the_documented_values(warm) -> None:
    step, inputs, error = warm
    before, after = resampled(step, inputs, error)
    live = np.setdiff1d(np.arange(64), DEAD)
    for name, value in after.items():
        if name.endswith("decoder_bias") or len(value) != 64 or name == "silent":
            assert torch.equal(value, before[name]), name
            continue
        assert torch.equal(value[live], before[name][live]), name
        if name not in ("encoder", "decoder", "encoder_bias"):
            assert (value[DEAD] == 0).all(), name
    assert before["first.encoder_bias"][live].any()  # so there were moments that had to stay
    decoder, encoder = after["decoder"][DEAD], after["encoder"][DEAD]
    torch.testing.assert_close(decoder.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(encoder, decoder * 0.2 * before["encoder"][live].norm(dim=1).mean())
    fires = inputs @ encoder.T + after["encoder_bias"][DEAD] > 0
    assert (fires.sum(0) == 128 * 3 // 64).all()


def test_moments_of_dead_latents_become_zero(warm) -> None:
    step, inputs, error = warm
    for moments in (step.first, step.second):
        for value in moments.values():
            value += 1
    _, after = resampled(step, inputs, error)
    for name, value in after.items():
        if name.startswith(("first.", "second.")) and not name.endswith("decoder_bias"):
            assert (value[DEAD] == 0).all(), name


def test_the_only_input_with_an_error_is_drawn_and_other_dead_latents_wait(warm) -> None:
    step, inputs, error = warm
    error[torch.arange(128) != 77] = 0
    before, after = resampled(step, inputs, error)
    torch.testing.assert_close(after["decoder"][DEAD[0]], inputs[77] / inputs[77].norm())
    for latent in DEAD[1:]:
        assert torch.equal(after["decoder"][latent], before["decoder"][latent])


def test_weights_stay_finite_if_all_latents_are_dead_or_none(warm) -> None:
    step, inputs, error = warm
    inputs[5] = 0  # a zero input has no direction
    error[5] = 1e6
    before, after = resampled(step, inputs, error, [])
    assert all(torch.equal(before[name], value) for name, value in after.items())
    _, after = resampled(step, inputs, error, list(range(64)))
    assert all(value.isfinite().all() for value in after.values())
    torch.testing.assert_close(after["decoder"].norm(dim=1), torch.ones(64))


def test_inputs_are_drawn_by_their_squared_loss_and_depend_only_on_seed_hookpoint_and_step(settings) -> None:
    loss = np.array([0.0, 1, 2, 3])
    drawn = [resampling.draw_inputs(loss, 4, settings, step) for step in range(4000)]
    assert all(sorted(order) == [1, 2, 3] for order in drawn)
    first, second = (np.bincount([order[i] for order in drawn], minlength=4) / len(drawn) for i in (0, 1))
    np.testing.assert_allclose(first, np.array([0, 1, 4, 9]) / 14, atol=0.03)
    expected = [0, 4 / 14 / 10 + 9 / 14 / 5, 1 / 14 * 4 / 13 + 9 / 14 * 4 / 5, 1 / 14 * 9 / 13 + 4 / 14 * 9 / 10]
    np.testing.assert_allclose(second, expected, atol=0.03)

    losses = np.ones(1000)

    def order(step=1, **change):
        return resampling.draw_inputs(losses, 1000, replace(settings, **change), step).tolist()

    assert order() == order() == order(order_seed=5, learning_rate=0.1)
    assert len({tuple(o) for o in (order(), order(2), order(init_seed=1), order(hookpoint="there"))}) == 4


def test_latents_are_resampled_at_the_documented_steps_only(planted, settings, workers, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(resampling, "resample", lambda step, *_: seen.append(step.steps))
    step, batches = start(planted, settings, workers)
    for batch in batches:
        step.step(batch, 1e-3)
    assert step.steps == settings.total_steps
    assert seen == TIMES
    assert [n for n in range(5) if resampling.is_due(n, 4)] == [1, 2]
    assert not resampling.is_due(0, 1)
    assert [n for n in (23, 24, 33, 34, 47, 48) if resampling.just_resampled(n, settings.total_steps)] == [24, 33, 48]


def test_training_chunk_by_chunk_resamples_as_in_one_loop(planted, train, settings, workers, monkeypatch) -> None:
    settings = replace(settings, n_latents=256)
    dead, resample = [], resampling.resample

    def spy(step, *rest):
        dead.append(int((step.silent >= resampling.dead_after(step.settings)).sum()))
        resample(step, *rest)

    monkeypatch.setattr(resampling, "resample", spy)
    tensors = load_file(train("a", settings) / "sae.safetensors")
    data = reader.Chunk(planted.chunks[0])
    normalisation = Normalisation.from_manifest("centre-scale", data.manifest)
    batches = [b for c in planted.chunks for b in reader.batches(c, batch_size=128, epochs=3, order_seed=0)]
    step = fresh(settings, normalisation, data.d_model, batches[0], workers)
    for batch in batches:
        step.step(batch, settings.rate(step.steps))
    assert len(dead) == 8
    assert dead[:4] == dead[4:]
    assert sum(dead[:4]) > 10
    for name, value in normalisation.fold({n: v.numpy() for n, v in step.weights().items()}).items():
        np.testing.assert_array_equal(tensors[name], value)


def test_resampling_is_the_same_after_resuming_in_a_block_and_on_more_threads(
    planted, settings, tmp_path, monkeypatch, interrupted_at
) -> None:
    """Stopped just before and just after a resampling, with 256 latents, many of which die."""
    settings = replace(settings, n_latents=256, tokens=4096 * 3)
    arguments = {"chunk": planted.chunks[0], "chunk_index": 0, "progress": False}
    changed, resample = [], resampling.resample

    def spy(step, *rest):
        before = step.parameters["decoder"].clone()
        resample(step, *rest)
        changed.append((step.settings.init_seed, step.steps, int((step.parameters["decoder"] != before).any(1).sum())))

    monkeypatch.setattr(resampling, "resample", spy)
    train_chunk(**arguments, settings=settings, out=tmp_path / "whole")
    assert [step for _, step, _ in changed] == [12, 24, 36, 48]
    assert sum(count for *_, count in changed) > 10
    files = {name: (tmp_path / "whole" / name).read_bytes() for name in ("sae.safetensors", "history.parquet")}

    def same(folder) -> bool:
        return all((folder / name).read_bytes() == content for name, content in files.items())

    for stopped_at in (35, 36):
        checkpoint = {"checkpoint": tmp_path / "checkpoint", "checkpoint_seconds": 0.0}
        with interrupted_at(stopped_at):
            train_chunk(**arguments, **checkpoint, settings=settings, out=tmp_path / "stopped")
        train_chunk(**arguments, **checkpoint, settings=settings, out=tmp_path / "stopped", threads=2)
        assert same(tmp_path / "stopped")
    jobs = [SaeJob(settings=replace(settings, init_seed=s), out=tmp_path / f"{s}") for s in (1, 0)]
    train_block(jobs, **arguments, threads=2)
    assert same(tmp_path / "0")
