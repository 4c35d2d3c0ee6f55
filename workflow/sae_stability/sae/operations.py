"""What training steps with varying numbers of firing latents are made of, in torch operations for any device.

Latents that fire are a flat list of entries, row after row. Where they are few, work is done entry by entry, without a
tensor of shape (entries, d_model); where they are many (a ReLU early in training), by dense products, which are faster
then. Sums run in a fixed order, so the same device gives the same bits.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from sae_stability.sae.step import BETA1, BETA2, EPSILON

DENSE_FROM = 1 / 16  # share of latents that fire, from which dense products are faster
_PIECE = 1 << 24  # floats of gathered rows held at once


@dataclass
class Entries:
    """The entries of a batch, rows ascending, and latents ascending within a row.

    Attributes:
        starts, counts: (rows,) where each row's entries are.
        rows, latents: (entries,) integers. pre: (entries,) pre-activations, bias included.
        order: (entries,) the entries by latent, rows ascending. offsets: (n_latents + 1,) where each latent's begin.
    """

    starts: torch.Tensor
    counts: torch.Tensor
    rows: torch.Tensor
    latents: torch.Tensor
    pre: torch.Tensor
    order: torch.Tensor
    offsets: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, n_latents)."""
        return len(self.starts), len(self.offsets) - 1

    @property
    def dense(self) -> bool:
        """Whether dense products are faster."""
        n_rows, n_latents = self.shape
        return len(self.latents) > DENSE_FROM * n_rows * n_latents

    def flat(self) -> torch.Tensor:
        """(entries,) positions in a flattened (rows, n_latents) matrix."""
        return self.rows.long() * self.shape[1] + self.latents


class Operations:
    """Plain torch."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """A copy on the device."""
        return torch.tensor(np.ascontiguousarray(values), dtype=self.dtype, device=self.device)

    def product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """a @ b."""
        return a @ b

    def above(self, pre: torch.Tensor, floor: torch.Tensor) -> Entries:
        """The entries of pre (rows, n_latents) above floor (n_latents,)."""
        return self._entries(pre, pre > floor)

    def largest(self, pre: torch.Tensor, among: torch.Tensor, k: int) -> Entries:
        """The k largest positive entries of each row among some latents (indices, ascending)."""
        best = pre[:, among].topk(k, dim=1)
        mask = torch.zeros_like(pre, dtype=torch.bool).scatter_(1, among[best.indices], best.values > 0)
        return self._entries(pre, mask)

    def _entries(self, pre: torch.Tensor, mask: torch.Tensor) -> Entries:
        rows, latents = torch.nonzero(mask, as_tuple=True)
        counts = mask.sum(1)
        per_latent = torch.bincount(latents, minlength=pre.shape[1])
        offsets = torch.zeros(pre.shape[1] + 1, dtype=torch.int64, device=pre.device)
        torch.cumsum(per_latent, 0, out=offsets[1:])
        order = torch.argsort(latents, stable=True)
        return Entries(torch.cumsum(counts, 0) - counts, counts, rows, latents, pre[rows, latents], order, offsets)

    def left_out(self, pre: torch.Tensor, kept: int) -> float:
        """The largest positive number of `pre` that is not among the `kept` largest; 0 where there is none."""
        if kept >= pre.numel():
            return 0.0
        return max(0.0, float(pre.flatten().topk(kept + 1).values[-1]))

    def decode(self, entries: Entries, value: torch.Tensor, decoder: torch.Tensor, target: torch.Tensor):
        """(rows, d_model): the entries' decoder rows times `value`, less `target`."""
        if entries.dense:
            return self.product(_scatter(entries, value), decoder).sub_(target)
        return self._decode(entries, value, decoder).sub_(target)

    def _decode(self, entries: Entries, value: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        return embedding_bag(entries.latents, decoder, entries.starts, per_sample_weights=value, mode="sum")

    def dots(self, entries: Entries, error: torch.Tensor, decoder: torch.Tensor, shifts=None) -> torch.Tensor:
        """(entries,): error[row] . decoder[latent]; with `shifts` (n_latents,), error[row + shifts[latent]]."""
        if entries.dense and shifts is None:
            return self.product(error, decoder.T).flatten()[entries.flat()]
        return self._dots(entries, error, decoder, shifts)

    def _dots(self, entries: Entries, error: torch.Tensor, decoder: torch.Tensor, shifts) -> torch.Tensor:
        out = torch.empty_like(entries.pre)
        rows = entries.rows if shifts is None else entries.rows + shifts[entries.latents]
        size = max(1, _PIECE // decoder.shape[1])
        for first in range(0, len(out), size):
            part = slice(first, first + size)
            out[part] = (error[rows[part]] * decoder[entries.latents[part]]).sum(1)
        return out

    def sums(self, entries: Entries, weights: torch.Tensor) -> torch.Tensor:
        """(n_latents,): sum of each latent's `weights` (entries,)."""
        ones = torch.ones((entries.shape[0], 1), dtype=weights.dtype, device=weights.device)
        return self._row_sums(entries, weights, ones, None)[:, 0]

    def row_sums(self, entries: Entries, weights: torch.Tensor, matrix: torch.Tensor, shifts=None) -> torch.Tensor:
        """(n_latents, d_model): each latent's sum of weight * matrix[row]; matrix[row + shift] as in `dots`."""
        if entries.dense and shifts is None:
            return self.product(_scatter(entries, weights).T, matrix)
        return self._row_sums(entries, weights, matrix, shifts)

    def _row_sums(self, entries: Entries, weights: torch.Tensor, matrix: torch.Tensor, shifts) -> torch.Tensor:
        order = entries.order
        rows = entries.rows if shifts is None else entries.rows + shifts[entries.latents]
        offsets = entries.offsets[:-1]
        return embedding_bag(rows[order], matrix, offsets, per_sample_weights=weights[order], mode="sum")

    def adam(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """One Adam step of a tensor in place, factors as from `step.adam_factors`."""
        first.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        weight.addcdiv_(first, second.sqrt().mul_(correction).add_(EPSILON), value=-rate)


def _scatter(entries: Entries, values: torch.Tensor) -> torch.Tensor:
    n_rows, n_latents = entries.shape
    dense = torch.zeros(n_rows * n_latents, dtype=values.dtype, device=values.device)
    dense[entries.flat()] = values
    return dense.view(n_rows, n_latents)
