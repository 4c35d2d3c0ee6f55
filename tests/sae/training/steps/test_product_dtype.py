"""A bfloat16 product selects the latents; everything after it is computed in float32."""

from dataclasses import replace

import numpy as np
import torch

from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.kernels import cpu_topk
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.steps import topk_cpu
from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
from sae_stability.sae.training.workers import Workers
from tests.sae.training.chunks import planted_rows


def test_values_equal_the_float32_product_and_negative_ones_are_dropped() -> None:
    random = np.random.default_rng(0)
    inputs, encoder = (random.normal(size=(rows, 24)).astype(np.float32) for rows in (50, 64))
    bias = random.normal(size=64).astype(np.float32)
    chosen = random.random((50, 64)).argpartition(5, axis=1)[:, :5]
    starts, counts = np.arange(50) * 5, np.full(50, 5)
    index, value = chosen.astype(np.int32).ravel(), np.zeros(250, np.float32)
    cpu_topk.evaluate(inputs, encoder, bias, starts, counts, index, value)
    exact = inputs.astype(float) @ encoder.T + bias
    for row in range(50):
        kept = [latent for latent in chosen[row] if exact[row, latent] > 0]
        part = slice(starts[row], starts[row] + counts[row])
        assert index[part].tolist() == kept
        np.testing.assert_allclose(value[part], exact[row, kept], rtol=1e-5, atol=1e-6)
    assert 0 < counts.mean() < 5


def test_a_step_with_the_same_latents_equals_the_float32_step(planted, one_chunk) -> None:
    """With k = n_latents and a bias that makes all latents fire, there is nothing to select."""
    settings = replace(one_chunk, n_latents=16, k=16)
    weights = initial_weights(16, 24, 0, "here") | {"decoder_bias": np.zeros(24, np.float32)}
    weights["encoder_bias"] += 4
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(128, 24)).astype(np.float32))
    after = []
    for dtype in ("float32", "bfloat16"):
        nothing = Normalisation(np.zeros(24, np.float32), 1.0)
        with Workers(1) as workers:
            training = CpuTopKStep(weights, replace(settings, product_dtype=dtype), nothing, workers)
            result = training.step(x, 1e-3)
        assert result.l0 == 16
        after.append((result.fvu, training.state()))
    np.testing.assert_allclose(after[1][0], after[0][0], rtol=1e-5)
    for name in ("first.encoder", "first.decoder", "first.encoder_bias", "first.decoder_bias"):
        np.testing.assert_allclose(after[1][1][name], after[0][1][name], rtol=1e-4, atol=1e-7, err_msg=name)


def test_rounding_is_the_same_without_bfloat16_instructions(monkeypatch) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32))
    found = {}
    for supported in (True, False):
        monkeypatch.setattr(topk_cpu, "BFLOAT16_PRODUCTS", supported)
        found[supported] = topk_cpu._bfloat16(values)
    assert (found[True].dtype, found[False].dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(found[True].float(), found[False])
    assert not torch.equal(found[False], values)


def test_bfloat16_reconstructs_as_well_and_threads_change_nothing(planted, train) -> None:
    """Compared after one step from the same weights; whole trainings on such small data differ as two seeds do."""
    x = torch.from_numpy(planted_rows(planted.dictionary, 512, active=3, seed=5))
    weights = initial_weights(64, 24, 0, "here") | {"decoder_bias": np.full(24, 0.3, np.float32)}
    fvu = {}
    for dtype in ("float32", "bfloat16"):
        settings = replace(planted.settings, batch_size=512, product_dtype=dtype)
        with Workers(1) as workers:
            training = CpuTopKStep(weights, settings, Normalisation(np.zeros(24, np.float32), 1.0), workers)
            fvu[dtype] = training.step(x, 1e-3).fvu
    assert fvu["float32"] != fvu["bfloat16"]
    assert abs(fvu["bfloat16"] / fvu["float32"] - 1) < 0.01
    low = replace(planted.settings, product_dtype="bfloat16")
    one, three = (train(f"{threads}", low, threads=threads) / "sae.safetensors" for threads in (1, 3))
    assert one.read_bytes() == three.read_bytes()
