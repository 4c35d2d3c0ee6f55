"""BatchTopK (Bussmann, Leask and Nanda 2024, "BatchTopK sparse autoencoders", arXiv 2412.06410).

Loss: sum ||x - x_hat||^2 over the batch + auxk_alpha * AuxK (Gao et al. 2024), where the batch_size * k largest
positive pre-activations of the whole batch count, so rows differ in how many latents fire. Initialisation: decoder rows
uniform with norm 1, encoder their transpose (here: rescaled, as for TopK), biases 0. Decoder rows are held at norm 1.

For inference a fixed threshold replaces the batch: the expectation over batches of the smallest activation that
counted, here an exponential mean over about the last 100 steps, corrected for its start at 0 (without that, the
threshold of a short training is far too low).

Not as in the source: AuxK is TopK's, of up to d_model / 2 latents that have been silent for `dead_tokens`, where the
authors' code takes up to 512 that have been silent for five batches; the decoder bias starts at the first batch's mean.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.steps.variable_l0 import EntryStep, Loss, make_operations

KEEP = 0.99  # of the exponential mean, a step


class BatchTopKStep(EntryStep):
    """`memory`: exponential sum of the batches' smallest activations, and of its weights."""

    memory_size = 2

    def select(self, pre: torch.Tensor) -> Entries:
        """The batch_size * k largest positive pre-activations; of several equal ones at the border, none."""
        entries = self.operations.largest_of_all(pre, len(pre) * self.settings.k)
        if len(entries.pre):
            self.memory *= KEEP
            self.memory += float(entries.pre.min()) * (1 - KEEP), 1 - KEEP
        return entries

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Squared error."""
        error, fvu, through_pre = self.reconstruct(entries, entries.pre, inputs, variance)
        gradients, sums = self.linear_gradients(entries, inputs, error, entries.pre, through_pre, variance)
        return Loss(fvu, error, entries.count(entries.pre > 0), gradients | {"encoder_bias": sums}, sums)

    def threshold(self) -> float:
        """The mean of the batches' smallest activations."""
        total, weight = self.memory
        return total / weight if weight else 0.0

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters, and the threshold, the same for every latent."""
        return super().weights() | {"threshold": torch.full((self.settings.n_latents,), self.threshold())}


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> BatchTopKStep:
    """An SAE in training."""
    return BatchTopKStep(weights, settings, normalisation, make_operations(device, workers))
