"""Operations of training steps with a varying number of firing latents, in plain torch for any device.

An entry is one firing latent of one row. If few latents fire (`Entries`), entries are flat lists, row after row, and
are processed without a tensor of shape (entries, d_model). If many fire, as early in the training of a ReLU SAE, dense
products of some rows at a time are faster (`dense_latents.DenseEntries`). Sums run in a fixed order, so the same device
gives the same bits.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from sae_stability.sae.training.kernels.adam import BETA1, BETA2, EPSILON
from sae_stability.sae.training.kernels.dense_latents import DenseEntries

DENSE_FROM = 1 / 16  # dense products are faster if more than this share of latents fire
_MOST_GATHERED = 1 << 24  # floats of gathered rows stored at a time


@dataclass
class Entries:
    """The entries of a batch, sorted by row, then by latent. `DenseEntries` has the same interface.

    Attributes:
        starts, counts: (rows,) index of each row's first entry, and number of its entries.
        rows, latents: (entries,) row and latent of each entry. pre: (entries,) pre-activations, bias included.
        order: (entries,) indices of the entries sorted by latent, then by row.
        offsets: (n_latents + 1,) where the entries of each latent begin in `order`.
        operations: the operations of the device.
    """

    starts: torch.Tensor
    counts: torch.Tensor
    rows: torch.Tensor
    latents: torch.Tensor
    pre: torch.Tensor
    order: torch.Tensor
    offsets: torch.Tensor
    operations: "Operations"

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, n_latents)."""
        return len(self.starts), len(self.offsets) - 1

    def parts(self) -> Iterator[tuple[slice, "Entries"]]:
        """Yield (rows, their entries): one part with all rows."""
        yield slice(None), self

    def per_entry(self, values: torch.Tensor) -> torch.Tensor:
        """(entries,): the value of each entry's latent, from `values` (n_latents,)."""
        return values[self.latents]

    def masked(self, values: torch.Tensor) -> torch.Tensor:
        """`values` (entries,) unchanged; in a dense matrix, values without an entry are set to 0."""
        return values

    def reconstruct(self, value: torch.Tensor, decoder: torch.Tensor, target: torch.Tensor, factor: float):
        """Decode `value` (entries,) and compare the result with `target` (rows, d_model).

        Returns:
            error (rows, d_model): sum of value * decoder row, minus target.
            Sum of the squared errors, added in float64.
            through (entries,): error . decoder row * factor.
        """
        return self.operations.reconstruct(self, value, decoder, target, factor)

    def sums(self, weights: torch.Tensor) -> torch.Tensor:
        """(n_latents,): sum of each latent's `weights` (entries,)."""
        return self.operations.sums(self, weights)

    def row_sums(self, weights: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """(n_latents, d_model): each latent's sum of weight * matrix[row]."""
        return self.operations.row_sums(self, weights, matrix)

    def count(self, fired: torch.Tensor) -> torch.Tensor:
        """(n_latents,): number of each latent's entries with True in `fired` (entries,)."""
        return torch.bincount(self.latents[fired], minlength=self.shape[1])


class Operations:
    """Operations in plain torch."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        """A copy of an array on the device, in `dtype`."""
        return torch.tensor(np.ascontiguousarray(values), dtype=self.dtype, device=self.device)

    def in_order(self, function: Callable, items: Iterable) -> Iterator:
        """Yield `function(item)` in the order of the items."""
        return map(function, items)

    def centred(self, batch: torch.Tensor, mean: torch.Tensor, scale: float, bias: torch.Tensor):
        """x - bias (rows, d_model) for x = (batch - mean) / scale, and sum ||x - mean(x)||^2."""
        x = (batch.to(mean) - mean).mul_(1 / scale)
        return x - bias, float((x - x.mean(0)).square().sum(dtype=torch.float64))

    def product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """a @ b."""
        return a @ b

    def encode(self, inputs: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Pre-activations (rows, n_latents), bias included. The next call may overwrite them."""
        return (inputs @ encoder.T).add_(bias)

    def above(self, pre: torch.Tensor, floor: torch.Tensor) -> Entries | DenseEntries:
        """The entries of pre (rows, n_latents) above floor (n_latents,)."""
        mask = pre > floor
        if dense_is_faster(int(mask.sum()), pre):
            return DenseEntries(pre, floor)
        return self._entries(pre, mask)

    def largest(self, pre: torch.Tensor, among: torch.Tensor, k: int) -> Entries:
        """The k largest positive entries of each row among the latents `among` (indices, ascending)."""
        best = pre[:, among].topk(k, dim=1)
        mask = torch.zeros_like(pre, dtype=torch.bool).scatter_(1, among[best.indices], best.values > 0)
        return self._entries(pre, mask)

    def largest_of_all(self, pre: torch.Tensor, count: int) -> Entries:
        """The `count` largest positive entries of the batch, without ties at the cutoff."""
        floor = 0.0
        if count < pre.numel():
            floor = max(0.0, float(pre.flatten().topk(count + 1).values[-1]))
        return self._entries(pre, pre > floor)

    def _entries(self, pre: torch.Tensor, mask: torch.Tensor) -> Entries:
        rows, latents = torch.nonzero(mask, as_tuple=True)
        counts = mask.sum(1)
        per_latent = torch.bincount(latents, minlength=pre.shape[1])
        offsets = torch.zeros(pre.shape[1] + 1, dtype=torch.int64, device=pre.device)
        torch.cumsum(per_latent, 0, out=offsets[1:])
        order = torch.argsort(latents, stable=True)
        starts = torch.cumsum(counts, 0) - counts
        return Entries(starts, counts, rows, latents, pre[rows, latents], order, offsets, self)

    def reconstruct(self, entries: Entries, value, decoder: torch.Tensor, target: torch.Tensor, factor: float):
        """See `Entries.reconstruct`."""
        error = self.decode(entries.starts, entries.counts, entries.latents, value, decoder).sub_(target)
        through = self.dots(entries, error, decoder).mul_(factor)
        return error, float(error.square().sum(dtype=torch.float64)), through

    def decode(self, starts, counts, latents, value: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        """(rows, d_model): sum of value * decoder row over each row's entries, which are contiguous."""
        return embedding_bag(latents, decoder, starts, per_sample_weights=value, mode="sum")

    def dots(self, entries: Entries, error: torch.Tensor, decoder: torch.Tensor, shifts=None) -> torch.Tensor:
        """(entries,): error[row] . decoder[latent]; with `shifts` (n_latents,), error[row + shifts[latent]] instead."""
        out = torch.empty_like(entries.pre)
        rows = entries.rows if shifts is None else entries.rows + shifts[entries.latents]
        size = max(1, _MOST_GATHERED // decoder.shape[1])
        for first in range(0, len(out), size):
            part = slice(first, first + size)
            out[part] = (error[rows[part]] * decoder[entries.latents[part]]).sum(1)
        return out

    def sums(self, entries: Entries, weights: torch.Tensor) -> torch.Tensor:
        """See `Entries.sums`."""
        ones = torch.ones((entries.shape[0], 1), dtype=weights.dtype, device=weights.device)
        return self.row_sums(entries, weights, ones)[:, 0]

    def row_sums(self, entries: Entries, weights: torch.Tensor, matrix: torch.Tensor, shifts=None) -> torch.Tensor:
        """See `Entries.row_sums`. With `shifts`, uses matrix[row + shifts[latent]]."""
        order = entries.order
        rows = entries.rows if shifts is None else entries.rows + shifts[entries.latents]
        offsets = entries.offsets[:-1]
        return embedding_bag(rows[order], matrix, offsets, per_sample_weights=weights[order], mode="sum")

    def adam(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """One Adam step of a tensor, in place; `rate` and `correction` come from `adam.adam_factors`."""
        first.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        weight.addcdiv_(first, second.sqrt().mul_(correction).add_(EPSILON), value=-rate)

    def adam_unit_rows(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """`adam` for rows held at norm 1: first removes the gradient along the rows, then renormalises the rows."""
        gradient = gradient - (gradient * weight).sum(1, keepdim=True) * weight
        self.adam(weight, gradient, first, second, rate, correction)
        weight /= weight.norm(dim=1, keepdim=True)


def dense_is_faster(count: int, pre: torch.Tensor) -> bool:
    """Whether dense products are faster than lists for `count` entries of `pre`."""
    return count > DENSE_FROM * pre.numel()
