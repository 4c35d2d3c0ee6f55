"""Initial weights. They are drawn by numpy, so they are the same on every machine and device."""

import numpy as np

from sae_stability.random_streams import stream


def initial_weights(n_latents: int, d_model: int, init_seed: int, hookpoint: str) -> dict[str, np.ndarray]:
    """Encoder, decoder and encoder bias before the first step, initialised as in sparsify.

    The encoder is uniform on [-1, 1] / sqrt(d_model), as in torch's `nn.Linear`; its bias is 0. Decoder rows are the
    encoder rows scaled to norm 1. The decoder bias is set elsewhere: it starts at the mean of the first batch.

    Returns:
        `encoder` and `decoder` (n_latents, d_model), `encoder_bias` (n_latents,), float32.
    """
    random = np.random.default_rng(stream("init", init_seed, hookpoint))
    bound = np.float32(d_model**-0.5)
    encoder = (random.random((n_latents, d_model), dtype=np.float32) * 2 - 1) * bound
    decoder = encoder / np.linalg.norm(encoder, axis=1, keepdims=True)
    return {"encoder": encoder, "decoder": decoder, "encoder_bias": np.zeros(n_latents, np.float32)}
