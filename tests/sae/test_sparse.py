"""Firings as lists: the same as the dense activations that are not 0, for every kind of SAE."""

import numpy as np
import pytest
import torch

from sae_stability.sae.model import SAE
from sae_stability.sae.sparse import firings
from sae_stability.sae.weights import ACTIVATIONS, Weights

N_LATENTS, D_MODEL = 24, 10


def weights(activation: str, **settings) -> Weights:
    rng = np.random.default_rng(0)
    encoder, decoder = rng.normal(size=(2, N_LATENTS, D_MODEL)).astype(np.float32)
    vectors = {name: rng.normal(size=N_LATENTS).astype(np.float32) for name in ("bias", "threshold", "gate", "scale")}
    extras = {
        "jumprelu": {"threshold": np.abs(vectors["threshold"])},
        "gated": {"gate_bias": vectors["gate"], "log_magnitude": vectors["scale"]},
    }
    shared = {"decoder_bias": rng.normal(size=D_MODEL).astype(np.float32), "k": 4, "activation": activation}
    return Weights(encoder, decoder, vectors["bias"], **shared, **extras.get(activation, {}), **settings)


@pytest.mark.parametrize("input_norm", ["none", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_they_are_the_activations_that_are_not_zero(activation: str, input_norm: str):
    sae = SAE(weights(activation, input_norm=input_norm))
    x = torch.randn(200, D_MODEL, generator=torch.Generator().manual_seed(0), dtype=torch.float32).half()
    rows, latents, values = firings(sae, x)
    dense = np.zeros((200, N_LATENTS), np.float32)
    dense[rows, latents] = values
    assert np.array_equal(dense, sae.encode(x).numpy())
    assert len(rows) == np.count_nonzero(dense) > 200
    assert (np.diff(rows) >= 0).all()
    assert (rows.dtype, latents.dtype, values.dtype) == (np.int32, np.int32, np.float32)


def test_fewer_than_k_fire_where_fewer_are_positive():
    sae = SAE(weights("topk"))
    sae.encoder_bias -= 8
    x = torch.randn(200, D_MODEL, generator=torch.Generator().manual_seed(0))
    rows, _, values = firings(sae, x)
    assert np.bincount(rows, minlength=200).min() == 0
    assert (values > 0).all()
