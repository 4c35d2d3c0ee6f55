"""BatchTopK (Bussmann, Leask and Nanda 2024, "BatchTopK sparse autoencoders", arXiv 2412.06410).

The batch_size * k largest positive pre-activations of the whole batch fire, so the number of firing latents varies over
rows. Loss: sum ||x - x_hat||^2 over the batch + auxk_alpha * AuxK (Gao et al. 2024). Initialisation: decoder rows
uniform with norm 1, encoder their transpose (here: rescaled, as for TopK), biases 0. Decoder rows are held at norm 1.

For inference, a fixed threshold replaces the selection over the batch: the expected smallest activation that fires in a
batch. Here this is an exponential mean over about the last 100 steps, with bias correction for its start at 0; without
the correction, the threshold of a short training is far too low.

Differences from the source:

- AuxK is as for TopK: up to d_model / 2 latents that have not fired for `dead_tokens`. The authors' code takes up to
  512 latents that have not fired for five batches.
- The decoder bias starts at the first batch's mean.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.steps.variable_l0 import EntryStep, Loss, make_operations

DECAY = 0.99  # per step, of the exponential mean


class BatchTopKStep(EntryStep):
    """`memory` (2,): exponential sums of the batches' smallest firing activations, and of their weights."""

    memory_size = 2

    def select(self, pre: torch.Tensor) -> Entries:
        """The batch_size * k largest positive pre-activations, without ties at the cutoff."""
        entries = self.operations.largest_of_all(pre, len(pre) * self.settings.k)
        if len(entries.pre):
            self.memory *= DECAY
            self.memory += float(entries.pre.min()) * (1 - DECAY), 1 - DECAY
        return entries

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error."""
        error, fvu, through_pre = self.reconstruct(entries, entries.pre, inputs, variance)
        gradients, sums = self.linear_gradients(entries, inputs, error, entries.pre, through_pre, variance)
        return Loss(fvu, error, entries.count(entries.pre > 0), gradients | {"encoder_bias": sums}, sums)

    def threshold(self) -> float:
        """Exponential mean of the batches' smallest firing activations."""
        total, weight = self.memory
        return total / weight if weight else 0.0

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters, and the threshold, the same for every latent."""
        return super().weights() | {"threshold": torch.full((self.settings.n_latents,), self.threshold())}


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> BatchTopKStep:
    """Make the training step of one SAE, on CPU or CUDA kernels or plain torch operations."""
    return BatchTopKStep(weights, settings, normalisation, make_operations(device, workers))
