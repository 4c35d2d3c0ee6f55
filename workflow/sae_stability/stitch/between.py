"""A stitched SAE that runs both of its SAEs whole, so that TopK stays TopK."""

import numpy as np
import torch

from sae_stability.sae.model import SAE
from sae_stability.stitch.changes import Bias, bias_share


class Between:
    """Some latents of two SAEs, each with the activation that it has in its own whole SAE (see `changes`).

    Args:
        small, large: the SAEs.
        keep: (n_small,) bool: latents of `small`.
        add: (n_large,) bool: latents of `large`.
        bias: whose decoder bias it has.
    """

    def __init__(self, small: SAE, large: SAE, keep: np.ndarray, add: np.ndarray, bias: Bias) -> None:
        self._sides = [
            (sae, torch.from_numpy(chosen).to(sae.encoder.device)) for sae, chosen in ((small, keep), (large, add))
        ]
        self._share = float(bias_share(bias, keep.sum(), add.sum()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The reconstruction of x (rows, d_model)."""
        # Each side brings its own whole bias, so as much of the other's share is taken away.
        total = torch.zeros_like(x, dtype=torch.float32)
        for (sae, chosen), surplus in zip(self._sides, (self._share, 1 - self._share), strict=True):
            latents = sae.encode(x) * chosen
            total += sae.reconstruct(latents, x) - surplus * sae.reconstruct(torch.zeros_like(latents), x)
        return total
