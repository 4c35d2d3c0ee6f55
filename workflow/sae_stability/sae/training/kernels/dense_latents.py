"""Entries of a batch where many latents fire: values per entry are dense matrices (rows, n_latents)."""

from collections.abc import Iterator
from functools import cached_property

import torch

ROWS = 256  # per part on a CPU: a few matrices of this size stay in its cache
DEVICE_VALUES = 1 << 26  # values of a matrix per part on other devices: enough to keep a GPU busy


class DenseEntries:
    """Dense matrices with the interface of `torch_ops.Entries`. Matrices to be summed must be 0 without an entry.

    Threads work on different parts of the rows, so operations here run on one thread.
    """

    def __init__(self, pre: torch.Tensor, floor: torch.Tensor) -> None:
        """The entries of `pre` (rows, n_latents) above `floor` (n_latents,)."""
        self._unmasked, self._floor = pre, floor

    @cached_property
    def _mask(self) -> torch.Tensor:
        return (self._unmasked > self._floor).to(self._unmasked.dtype)

    @cached_property
    def pre(self) -> torch.Tensor:
        """(rows, n_latents) pre-activations, bias included; 0 where there is no entry."""
        return self.masked(self._unmasked)

    def parts(self) -> Iterator[tuple[slice, "DenseEntries"]]:
        """Yield (rows, their entries): the parts to compute one after another."""
        pre = self._unmasked
        size = ROWS if pre.device.type == "cpu" else max(ROWS, DEVICE_VALUES // pre.shape[1])
        for low in range(0, len(pre), size):
            rows = slice(low, low + size)
            yield rows, DenseEntries(pre[rows], self._floor)

    def per_entry(self, values: torch.Tensor) -> torch.Tensor:
        """`values` (n_latents,) itself, which broadcasts over the rows."""
        return values

    def masked(self, values: torch.Tensor) -> torch.Tensor:
        """`values` (rows, n_latents), set to 0 where there is no entry."""
        return values * self._mask  # ten times as fast as `torch.where`

    def reconstruct(self, value: torch.Tensor, decoder: torch.Tensor, target: torch.Tensor, factor: float):
        """As `Entries.reconstruct`, but the last result is not 0 where there is no entry."""
        error = (value @ decoder).sub_(target)
        return error, float(error.square().sum(dtype=torch.float64)), (error * factor) @ decoder.T

    def sums(self, weights: torch.Tensor) -> torch.Tensor:
        """(n_latents,): sums of `weights` (rows, n_latents) over the rows."""
        return (torch.ones((1, len(weights)), dtype=weights.dtype, device=weights.device) @ weights)[0]

    def row_sums(self, weights: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """(n_latents, d_model): each latent's sum of weight * matrix[row]."""
        return weights.T @ matrix

    def count(self, fired: torch.Tensor) -> torch.Tensor:
        """(n_latents,): number of True in each column of `fired` (rows, n_latents)."""
        return self.sums(fired.to(self._unmasked.dtype)).long()  # five times as fast as `fired.sum(0)`
