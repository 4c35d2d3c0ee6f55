"""Controls: held weights stay, all else trains as if they were no parameters, and a resume changes nothing."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.formats import own
from sae_stability.sae.training.controls import LEAST_COSINE, controlled, turned_back
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.limits import Control
from sae_stability.sae.training.normalisation import Normalisation, unit_decoder
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.topk_triton import TritonTopKStep
from sae_stability.sae.training.train import train_chunk
from sae_stability.sae.training.workers import Workers
from tests.sae.training.steps.dense import DENSE
from tests.sae.training.steps.test_architecture_gradients import OWN as IN_FLOAT64
from tests.sae.training.steps.test_architecture_gradients import coefficient_of, make
from tests.sae.training.steps.test_gradients import settings_for, start
from tests.sae.training.test_architectures import OWN, same_bytes

CONTROLS = get_args(Control)
SOFT = "soft-frozen-decoder"


@pytest.fixture(params=list(REGISTRY))
def settings(request, planted) -> TrainSettings:
    return replace(planted.settings, architecture=request.param, **OWN.get(request.param, {}))


@pytest.mark.parametrize("kind", ["numba", "torch"])
@pytest.mark.parametrize("frozen", ["decoder", "encoder"])
@pytest.mark.parametrize("name", list(REGISTRY))
def test_a_frozen_part_trains_as_a_tensor_without_gradient(name, frozen, kind) -> None:
    """Against autograd and Adam in float64, where the frozen tensor has `requires_grad` False."""
    control = f"frozen-{frozen}"
    settings = replace(settings_for(48, 5, 32, 0.0), architecture=name, control=control, **IN_FLOAT64.get(name, {}))
    random = np.random.default_rng(2)
    normalisation = Normalisation(random.normal(size=12).astype(np.float32), 1.7)
    weights = start(48, 12)
    reference = DENSE[name](weights, settings, normalisation, frozen)
    with Workers(2) as workers:
        inner = make(name, kind, weights, settings, normalisation, workers)
        step = controlled(inner, control)
        for i in range(12):
            x = torch.from_numpy(random.normal(size=(32, 12)) * 2 + 1)
            rate = 1e-2 / (i + 1)
            expected = reference.step(x, rate, coefficient_of(inner, x))
            result = step.step(x, rate)
            assert (result.fvu, result.auxk, result.l0) == pytest.approx(expected, rel=1e-9)
            for parameter, value in inner.parameters.items():
                expected = reference.p[parameter].detach()
                np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-9, err_msg=f"{parameter}, step {i}")


@pytest.mark.parametrize("control", CONTROLS)
def test_held_rows_end_bit_for_bit_as_they_began_and_the_rest_trains(train, settings, planted, control) -> None:
    """Over two chunks, so that a state lies between."""
    settings = replace(settings, control=control, learning_rate=1e-2)
    out = train("controlled", settings)
    trained, first = own.arrays(out), first_weights(settings)
    held = {"frozen-decoder": ["decoder"], "frozen-encoder": ["encoder"], "untrained": ["decoder", "encoder"]}
    moves = {"frozen-decoder": "encoder", "frozen-encoder": "decoder", SOFT: "decoder"}
    for name in held.get(control, []):
        rows = trained[name]
        if (settings.architecture, control, name) == ("relu", "frozen-encoder", "encoder"):
            # The norms of decoder rows, which train, are moved into the saved encoder.
            rows, first[name] = directions(rows), directions(first[name])
            np.testing.assert_allclose(rows, first[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(rows, first[name])
    if control in moves:
        assert np.abs(trained[moves[control]] - first[moves[control]]).max() > 0.05
    cosines = (directions(trained["decoder"]) * directions(first["decoder"])).sum(1)
    if control == SOFT:
        assert cosines.min() >= LEAST_COSINE - 1e-6
        assert cosines.min() < LEAST_COSINE + 0.1, "no row came near the limit, so nothing was tested"
    assert read_json(out / "cfg.json")["control"] == control


def test_an_untrained_sae_has_what_is_measured_and_nothing_learned(train, settings, planted) -> None:
    out = train("untrained", replace(settings, control="untrained"))
    trained = own.arrays(out)
    manifest = json.loads((planted.chunks[0] / "manifest.json").read_text())
    normalisation = Normalisation.from_manifest("centre-scale", manifest)
    biases = normalisation.fold({"decoder_bias": np.zeros(24, np.float32), "encoder_bias": np.zeros(64, np.float32)})
    np.testing.assert_array_equal(trained["encoder_bias"], biases["encoder_bias"])
    if settings.architecture in ("batchtopk", "matryoshka"):
        assert (trained["threshold"] > 0).all()


@pytest.mark.parametrize("control", CONTROLS)
def test_an_interrupted_training_ends_with_the_same_bytes(planted, train, tmp_path, interrupted_at, control) -> None:
    settings = replace(planted.settings, control=control, learning_rate=1e-2)
    whole = train("whole", settings)
    second = {
        "chunk": planted.chunks[1],
        "chunk_index": 1,
        "settings": settings,
        "first_chunk_manifest": planted.chunks[0] / "manifest.json",
        "previous": tmp_path / "whole-0.safetensors",
        "out": tmp_path / "resumed",
        "checkpoint": tmp_path / "checkpoint.safetensors",
        "progress": False,
    }
    with interrupted_at(settings.steps_before(1) + 50):
        train_chunk(**second, checkpoint_seconds=0)
    assert second["checkpoint"].exists()
    train_chunk(**second)
    assert same_bytes(whole, tmp_path / "resumed")


def test_no_control_leaves_no_trace(planted, train) -> None:
    """So SAEs trained without one keep their digest and their files."""
    assert "control" not in planted.settings.record()
    assert "control" not in read_json(train("plain", planted.settings) / "cfg.json")
    assert TrainSettings(n_latents=8, k=2, tokens=64, chunk_tokens=64, batch_size=8).digest() == "cdffe5dfbb1f2212"
    step = object()
    assert controlled(step, None) is step


def test_an_unknown_control_is_refused(planted) -> None:
    with pytest.raises(StudyError, match=r"^control: 'frozen' given; allowed: frozen-decoder, frozen-encoder, "):
        replace(planted.settings, control="frozen")


def test_turning_back_goes_to_the_nearest_direction_and_keeps_the_norm() -> None:
    initial = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    rows = torch.tensor([[3.0, 1.0], [0.0, 2.0], [-1.0, -1.0], [-5.0, 0.0]])
    turned = turned_back(rows, initial)
    assert torch.equal(turned[0], rows[0]), "within the limit: unchanged"
    torch.testing.assert_close(turned[1], torch.tensor([1.6, 1.2]))
    torch.testing.assert_close(turned[2], 2**0.5 * torch.tensor([0.8, -0.6]))
    assert torch.equal(turned[3], torch.tensor([5.0, 0.0])), "opposite: the initial direction"


def test_put_reaches_the_copies_that_a_gpu_step_multiplies() -> None:
    settings = replace(settings_for(16, 2, 8, 0.0), product_dtype="bfloat16")
    nothing = Normalisation(np.zeros(8, np.float32), 1.0)
    step = TritonTopKStep(start(16, 8), settings, nothing, torch.device("cpu"))
    address = step.copies["decoder"].data_ptr()
    step.put("decoder", torch.full((16, 8), 0.5))
    assert (step.copies["decoder"] == 0.5).all()
    assert step.copies["decoder"].data_ptr() == address


def first_weights(settings: TrainSettings) -> dict[str, np.ndarray]:
    """Encoder and decoder as saved before the first step."""
    weights = initial_weights(settings.n_latents, 24, settings.init_seed, settings.hookpoint)
    if settings.architecture == "relu":
        small = weights["decoder"] * np.float32(0.1)
        tensors = {"encoder": small, "decoder": small, "encoder_bias": weights["encoder_bias"]}
        weights = {k: v.numpy() for k, v in unit_decoder({k: torch.from_numpy(v) for k, v in tensors.items()}).items()}
    return weights


def directions(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
