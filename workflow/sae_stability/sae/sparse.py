"""Which latents fire on which rows, as lists: no array of all rows and latents leaves this module."""

import numpy as np
import torch

from sae_stability.sae.model import SAE


def firings(sae: SAE, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The activations of x that are not 0, as three lists of equal length, ordered by row.

    Dense activations of x (rows, n_latents) exist while this runs, so give it few rows at a time.

    Args:
        sae: the SAE.
        x: raw activations (rows, d_model) of any float dtype, on the SAE's device.

    Returns:
        Row numbers int32, latents int32, activations float32.
    """
    if sae.activation == "topk" and not x.is_cuda:
        return _topk_on_cpu(sae, x)
    latents = sae.encode(x)
    row, latent = latents.nonzero(as_tuple=True)
    values = latents[row, latent]
    return row.int().numpy(force=True), latent.int().numpy(force=True), values.float().numpy(force=True)


def _topk_on_cpu(sae: SAE, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By the kernel of training, which is several times faster than torch's topk. Ties go to the lower latent."""
    from sae_stability.sae.training.kernels import cpu_topk  # late: only this needs numba

    pre = torch.addmm(sae.encoder_bias, sae.encoder_input(x), sae.encoder.T).numpy()
    rows, no_bias = len(pre), np.zeros(pre.shape[1], pre.dtype)
    starts, counts = np.arange(rows, dtype=np.int64) * sae.k, np.zeros(rows, np.int64)
    latent, value = np.zeros(rows * sae.k, np.int32), np.zeros(rows * sae.k, pre.dtype)
    cpu_topk.select(pre, pre.view(np.int32), no_bias, sae.k, starts, counts, latent, value)
    found = (np.arange(sae.k) < counts[:, None]).ravel()
    return np.repeat(np.arange(rows, dtype=np.int32), counts), latent[found], value[found]
