"""The TopK training step in plain torch operations, for any device. Same arithmetic as `topk_cpu`.

It is the reference for `topk_triton`, and trains on devices without numba or Triton kernels.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.torch_ops import Entries, Operations
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.variable_l0 import EntryStep, Loss


class TorchTopKStep(EntryStep):
    """TopK with optional AuxK; a `protocol.Step`. `dtype` is float64 only in tests of gradients."""

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        settings: TrainSettings,
        normalisation: Normalisation,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(weights, settings, normalisation, Operations(device, dtype))
        self.all_latents = torch.arange(settings.n_latents, device=device)

    def select(self, pre: torch.Tensor) -> Entries:
        """The k largest positive pre-activations of each row."""
        return self.operations.largest(pre, self.all_latents, self.settings.k)

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error."""
        error, fvu, through_pre = self.reconstruct(entries, entries.pre, inputs, variance)
        gradients, sums = self.linear_gradients(entries, inputs, error, entries.pre, through_pre, variance)
        return Loss(fvu, error, entries.count(entries.pre > 0), gradients | {"encoder_bias": sums}, sums)
