"""Entries of a batch where many latents fire: numbers per entry are whole matrices (rows, n_latents)."""

from collections.abc import Iterator
from functools import cached_property

import torch

ROWS = 256  # at a time: a few matrices of these stay near the processor
DEVICE_NUMBERS = 1 << 26  # of a matrix at a time elsewhere: enough to keep a GPU busy


class DenseEntries:
    """Answers to the same as `torch_ops.Entries`. What is no entry has to be 0 in a matrix that is added up.

    A thread each works on some rows, so nothing here is shared out further.
    """

    def __init__(self, pre: torch.Tensor, floor: torch.Tensor) -> None:
        """The entries of `pre` (rows, n_latents) above `floor` (n_latents,)."""
        self._all, self._floor = pre, floor

    @cached_property
    def _mask(self) -> torch.Tensor:
        return (self._all > self._floor).to(self._all.dtype)

    @cached_property
    def pre(self) -> torch.Tensor:
        """(rows, n_latents) pre-activations, bias included; 0 where there is no entry."""
        return self.only(self._all)

    def parts(self) -> Iterator[tuple[slice, "DenseEntries"]]:
        """Rows to work on at a time, and their entries."""
        pre = self._all
        size = ROWS if pre.device.type == "cpu" else max(ROWS, DEVICE_NUMBERS // pre.shape[1])
        for low in range(0, len(pre), size):
            rows = slice(low, low + size)
            yield rows, DenseEntries(pre[rows], self._floor)

    def at(self, values: torch.Tensor) -> torch.Tensor:
        """`values` (n_latents,), to be taken for every row."""
        return values

    def only(self, values: torch.Tensor) -> torch.Tensor:
        """Numbers per entry, 0 where there is none."""
        return values * self._mask  # ten times as fast as `where`

    def reconstruct(self, value: torch.Tensor, decoder: torch.Tensor, target: torch.Tensor, factor: float):
        """As `Entries.reconstruct`; what there is no entry for is not 0 in the last result."""
        error = (value @ decoder).sub_(target)
        return error, float(error.square().sum(dtype=torch.float64)), (error * factor) @ decoder.T

    def sums(self, weights: torch.Tensor) -> torch.Tensor:
        """(n_latents,): sums over the rows."""
        return (torch.ones((1, len(weights)), dtype=weights.dtype, device=weights.device) @ weights)[0]

    def row_sums(self, weights: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """(n_latents, d_model): each latent's sum of weight * matrix[row]."""
        return weights.T @ matrix

    def count(self, fired: torch.Tensor) -> torch.Tensor:
        """(n_latents,): how many of each latent's entries `fired` (rows, n_latents), False where no entry is."""
        return self.sums(fired.to(self._all.dtype)).long()  # five times as fast as counting
