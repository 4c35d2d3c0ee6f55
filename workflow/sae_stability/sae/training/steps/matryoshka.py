"""Matryoshka BatchTopK (Bussmann, Nabeshima, Karvonen and Nanda 2025, "Learning multi-level features with Matryoshka
sparse autoencoders", arXiv 2503.17547).

BatchTopK whose first latents must reconstruct alone too: with `groups` G, prefixes of n (2^i - 1) / 2^G latents, i = 1
to G - 1, and all n (G = 5 gives the paper's 1/32, 3/32, 7/32, 15/32, 1). Loss: the mean over the prefixes of sum
||x - x_hat of the prefix||^2, as in the authors' code (the paper writes the sum), + auxk_alpha * AuxK on what the whole
reconstruction leaves. Which latents count is decided once, over all latents of the batch. Threshold for inference,
initialisation and what is not as in the source as for BatchTopK.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.steps.batchtopk import BatchTopKStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations

GROUPS = 5  # where the settings give none


def prefixes(n_latents: int, groups: int) -> list[int]:
    """The number of latents of each nested dictionary, the whole one last; at least 1 more each."""
    sizes = [max(i, n_latents * (2**i - 1) // 2**groups) for i in range(1, groups)]
    return [*sizes, n_latents]


class MatryoshkaStep(BatchTopKStep):
    """Latent j is in the prefixes from its own group on, so it feels the sum of their errors."""

    def initial(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As given; sets the groups."""
        n_latents = self.settings.n_latents
        self.ends = prefixes(n_latents, self.settings.groups or GROUPS)
        self.group = torch.from_numpy(np.searchsorted(self.ends, np.arange(n_latents), side="right"))
        self.group = self.group.to(self.operations.device)
        return weights

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Mean squared error over the prefixes."""
        operations, decoder, value = self.operations, self.parameters["decoder"], entries.pre
        (rows, width), groups = inputs.shape, len(self.ends)
        # Latents ascend within a row, and so do their groups: a row's entries are `groups` runs.
        runs = entries.rows * groups + self.group[entries.latents]
        counts = torch.bincount(runs, minlength=rows * groups)
        own = operations.decode(torch.cumsum(counts, 0) - counts, counts, entries.latents, value, decoder)
        own = own.view(rows, groups, width)
        errors = torch.empty((groups, rows, width), dtype=inputs.dtype, device=inputs.device)
        for i in range(groups):
            torch.add(own[:, i], errors[i - 1] if i else -inputs, out=errors[i])
        whole = errors[-1].clone()
        fvu = float(whole.square().sum(dtype=torch.float64)) / variance
        for i in reversed(range(groups - 1)):
            errors[i] += errors[i + 1]  # from here on: the sum of the errors of prefix i and all larger ones
        factor = 2 / variance / groups
        felt, shifts = errors.flatten(0, 1), self.group * rows
        through_pre = operations.dots(entries, felt, decoder, shifts).mul_(factor)
        sums = entries.sums(through_pre)
        gradients = {
            "encoder": entries.row_sums(through_pre, inputs),
            "decoder": operations.row_sums(entries, value * factor, felt, shifts),
            "encoder_bias": sums,
            "decoder_bias": errors[0].sum(0) * factor,
        }
        return Loss(fvu, whole, entries.count(value > 0), gradients, sums)


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> MatryoshkaStep:
    """An SAE in training."""
    return MatryoshkaStep(weights, settings, normalisation, make_operations(device, workers))
