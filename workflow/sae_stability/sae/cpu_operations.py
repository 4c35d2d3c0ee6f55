"""`operations` on a CPU: numba kernels on shared-out blocks in place of torch's single-threaded ones."""

import numpy as np
import torch

from sae_stability.sae import entry_kernels, kernels
from sae_stability.sae.operations import Entries, Operations
from sae_stability.sae.step import BETA1, BETA2, EPSILON
from sae_stability.sae.workers import Workers

_BLOCK = 1 << 16  # numbers of a parameter that one thread updates at once


class CpuOperations(Operations):
    """The same results to rounding, and the same bits whatever the number of threads."""

    def __init__(self, workers: Workers, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(torch.device("cpu"), dtype)
        self.workers = workers
        self.constants = tuple(self._number(c) for c in (BETA1, 1 - BETA1, BETA2, 1 - BETA2, EPSILON))

    def _number(self, value: float):
        return (np.float32 if self.dtype == torch.float32 else np.float64)(value)

    def product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """a @ b, by blocks of rows."""
        out = torch.empty((len(a), b.shape[1]), dtype=self.dtype)
        block = max(64, min(512, -(-len(a) // 8)))
        self.workers.each(len(a), block, lambda low, high: torch.mm(a[low:high], b, out=out[low:high]))
        return out

    def above(self, pre: torch.Tensor, floor: torch.Tensor) -> Entries:
        """The entries of pre (rows, n_latents) above floor (n_latents,)."""
        pre, floor, counts = pre.numpy(), floor.numpy(), np.empty(len(pre), np.int64)
        block = _block(len(pre))
        self.workers.each(
            len(pre), block, lambda low, high: entry_kernels.count_above(pre[low:high], floor, counts[low:high])
        )
        starts = np.cumsum(counts) - counts
        latents, values = np.empty(counts.sum(), np.int32), np.empty(counts.sum(), pre.dtype)

        def fill(low: int, high: int) -> None:
            part = slice(low, high)
            entry_kernels.fill_above(pre[part], floor, starts[part], counts[part], latents, values)

        self.workers.each(len(pre), block, fill)
        return _entries(starts, counts, latents, values, pre.shape[1])

    def largest(self, pre: torch.Tensor, among: torch.Tensor, k: int) -> Entries:
        """The k largest positive entries of each row among some latents (indices, ascending)."""
        rows, among = len(pre), among.numpy()
        starts, counts = np.arange(rows, dtype=np.int64) * k, np.zeros(rows, np.int64)
        latents, values = np.zeros(rows * k, np.int32), np.zeros(rows * k, pre.numpy().dtype)
        no_bias = np.zeros(len(among), values.dtype)

        def select(low: int, high: int) -> None:
            part = slice(low, high)
            chosen = np.ascontiguousarray(pre[part].numpy()[:, among])
            bits = chosen.view(f"i{chosen.itemsize}")
            kernels.select(chosen, bits, no_bias, k, starts[part], counts[part], latents, values)

        self.workers.each(rows, _block(rows), select)
        found = (np.arange(k) < counts[:, None]).ravel()
        latents = among[latents[found]].astype(np.int32)
        return _entries(np.cumsum(counts) - counts, counts, latents, values[found], pre.shape[1])

    def left_out(self, pre: torch.Tensor, kept: int) -> float:
        """The largest positive number of `pre` that is not among the `kept` largest; 0 where there is none."""
        values = pre.numpy().ravel()
        bits, shift = values.view(f"i{values.itemsize}"), values.itemsize * 8 - 16
        block = max(1, -(-len(values) // 8))
        counts = np.zeros((8, entry_kernels.KEYS), np.int64)

        def count(low: int, high: int) -> None:
            entry_kernels.count_keys(bits[low:high], shift, counts[low // block])

        self.workers.each(len(values), block, count)
        above = counts.sum(axis=0)[::-1].cumsum()  # entries with this key or a larger one, largest first
        if above[-1] <= kept:
            return 0.0
        place = int(np.searchsorted(above, kept, side="right"))
        key, before = len(above) - 1 - place, int(above[place - 1]) if place else 0
        same = np.empty(above[place] - before, values.dtype)
        entry_kernels.collect_key(bits, values, shift, key, same)
        return float(np.sort(same)[::-1][kept - before])

    def _decode(self, entries: Entries, value: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        out = torch.empty((entries.shape[0], decoder.shape[1]), dtype=self.dtype)
        starts, counts, latents = (t.numpy() for t in (entries.starts, entries.counts, entries.latents))

        def decode(low: int, high: int) -> None:
            part = slice(low, high)
            entry_kernels.decode_rows(
                starts[part], counts[part], latents, value.numpy(), decoder.numpy(), out[part].numpy()
            )

        self.workers.each(len(out), _block(len(out)), decode)
        return out

    def _dots(self, entries: Entries, error: torch.Tensor, decoder: torch.Tensor, shifts) -> torch.Tensor:
        out = torch.empty_like(entries.pre)
        given = (entries.starts, entries.counts, entries.latents, error, _shifts(shifts, entries), decoder, out)
        arrays = [t.numpy() for t in given]
        rows = entries.shape[0]
        self.workers.each(rows, _block(rows), lambda low, high: entry_kernels.row_dots(low, high, *arrays))
        return out

    def sums(self, entries: Entries, weights: torch.Tensor) -> torch.Tensor:
        """(n_latents,): sum of each latent's `weights` (entries,)."""
        out = torch.zeros(entries.shape[1], dtype=weights.dtype)
        arrays = [t.numpy() for t in (entries.offsets, weights[entries.order], out)]
        entry_kernels.sums_by_latent(0, len(out), *arrays)
        return out

    def _row_sums(self, entries: Entries, weights: torch.Tensor, matrix: torch.Tensor, shifts) -> torch.Tensor:
        n_latents, order = entries.shape[1], entries.order
        out = torch.empty((n_latents, matrix.shape[1]), dtype=self.dtype)
        given = (entries.offsets, entries.rows[order], weights[order], matrix, _shifts(shifts, entries), out)
        arrays = [t.numpy() for t in given]
        self.workers.each(n_latents, _block(n_latents), lambda low, high: entry_kernels.row_sums(low, high, *arrays))
        return out

    def adam(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """One Adam step of a tensor in place, factors as from `step.adam_factors`."""
        arrays = [t.view(-1).numpy() for t in (weight, gradient.contiguous(), first, second)]
        factors = self._number(rate), self._number(correction), self.constants
        self.workers.each(
            weight.numel(), _BLOCK, lambda low, high: kernels.adam(*(a[low:high] for a in arrays), *factors)
        )


def _block(size: int) -> int:
    return max(64, min(512, -(-size // 8)))


def _shifts(shifts: torch.Tensor | None, entries: Entries) -> torch.Tensor:
    return torch.zeros(entries.shape[1], dtype=torch.int64) if shifts is None else shifts


def _entries(starts: np.ndarray, counts: np.ndarray, latents: np.ndarray, values: np.ndarray, n: int) -> Entries:
    offsets, order = np.zeros(n + 1, np.int64), np.empty(len(latents), np.int64)
    kernels.count_by_latent(starts, counts, latents, offsets)
    np.cumsum(offsets, out=offsets)
    entry_kernels.order_by_latent(starts, counts, latents, offsets, order)
    rows = np.repeat(np.arange(len(starts), dtype=np.int64), counts)
    return Entries(*(torch.from_numpy(a) for a in (starts, counts, rows, latents, values, order, offsets)))
