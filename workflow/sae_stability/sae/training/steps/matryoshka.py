"""Matryoshka BatchTopK (Bussmann, Nabeshima, Karvonen and Nanda 2025, "Learning multi-level features with Matryoshka
sparse autoencoders", arXiv 2503.17547).

BatchTopK with nested dictionaries: each prefix of the latents must also reconstruct the input by itself. With `groups`
G, the prefixes have n (2^i - 1) / 2^G latents for i = 1 to G - 1, and all n (G = 5 gives the paper's 1/32, 3/32, 7/32,
15/32, 1). Loss: the mean over the prefixes of sum ||x - x_hat of the prefix||^2, as in the authors' code (the paper has
the sum), + auxk_alpha * AuxK on the error of the whole reconstruction. The latents that fire are selected once, over
all latents of the batch. Threshold for inference, initialisation and differences from the source are as for BatchTopK.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels.torch_ops import Entries
from sae_stability.sae.training.steps.batchtopk import BatchTopKStep
from sae_stability.sae.training.steps.variable_l0 import Loss, make_operations

DEFAULT_GROUPS = 5  # default of the setting `groups`


def prefixes(n_latents: int, groups: int) -> list[int]:
    """Number of latents of each nested dictionary, ascending; the last is `n_latents`. Each has at least 1 more."""
    sizes = [max(i, n_latents * (2**i - 1) // 2**groups) for i in range(1, groups)]
    return [*sizes, n_latents]


class MatryoshkaStep(BatchTopKStep):
    """Step of a Matryoshka SAE. A latent belongs to the prefixes from its group on; its gradient sums their errors."""

    def initial_parameters(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The weights unchanged. Also sets the groups."""
        n_latents = self.settings.n_latents
        self.ends = prefixes(n_latents, self.settings.groups or DEFAULT_GROUPS)
        self.group = torch.from_numpy(np.searchsorted(self.ends, np.arange(n_latents), side="right"))
        self.group = self.group.to(self.operations.device)
        return weights

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Mean squared error over the prefixes."""
        operations, decoder, value = self.operations, self.parameters["decoder"], entries.pre
        (rows, width), groups = inputs.shape, len(self.ends)
        # Latents ascend within a row, and so do their groups: each row's entries consist of `groups` runs.
        runs = entries.rows * groups + self.group[entries.latents]
        counts = torch.bincount(runs, minlength=rows * groups)
        group_sums = operations.decode(torch.cumsum(counts, 0) - counts, counts, entries.latents, value, decoder)
        group_sums = group_sums.view(rows, groups, width)
        errors = torch.empty((groups, rows, width), dtype=inputs.dtype, device=inputs.device)
        for i in range(groups):
            torch.add(group_sums[:, i], errors[i - 1] if i else -inputs, out=errors[i])
        whole = errors[-1].clone()
        fvu = float(whole.square().sum(dtype=torch.float64)) / variance
        for i in reversed(range(groups - 1)):
            errors[i] += errors[i + 1]  # now the sum of the errors of prefix i and all larger ones
        factor = 2 / variance / groups
        summed_errors, shifts = errors.flatten(0, 1), self.group * rows
        through_pre = operations.dots(entries, summed_errors, decoder, shifts).mul_(factor)
        sums = entries.sums(through_pre)
        gradients = {
            "encoder": entries.row_sums(through_pre, inputs),
            "decoder": operations.row_sums(entries, value * factor, summed_errors, shifts),
            "encoder_bias": sums,
            "decoder_bias": errors[0].sum(0) * factor,
        }
        return Loss(fvu, whole, entries.count(value > 0), gradients, sums)


def make_step(weights: dict[str, np.ndarray], settings, normalisation, device, workers) -> MatryoshkaStep:
    """Make the training step of one SAE, on CPU or CUDA kernels or plain torch operations."""
    return MatryoshkaStep(weights, settings, normalisation, make_operations(device, workers))
