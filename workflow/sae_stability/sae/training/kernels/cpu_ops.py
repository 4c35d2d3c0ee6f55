"""`torch_ops` on a CPU: numba kernels on blocks shared by threads, instead of torch operations on one thread."""

import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from sae_stability.sae.training.kernels import cpu_entries, cpu_topk
from sae_stability.sae.training.kernels.adam import BETA1, BETA2, EPSILON
from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries, Operations, dense_is_faster
from sae_stability.sae.training.workers import Workers

_BLOCK = 1 << 16  # values of a parameter that one thread updates at a time
CUTOFF_SHARE = 0.9  # of the last batch's cutoff; this batch's cutoff is hardly ever below it
_buffers = threading.local()  # reused for pre-activations, since new memory costs a third of the product's time


class CpuOperations(Operations):
    """Same results as `Operations` up to rounding, and the same bits for any number of threads."""

    def __init__(self, workers: Workers, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(torch.device("cpu"), dtype)
        self.workers = workers
        self.constants = tuple(self._number(c) for c in (BETA1, 1 - BETA1, BETA2, 1 - BETA2, EPSILON))
        self.expected_cutoff = 0.0  # guess of the cutoff in `largest_of_all`; affects its speed, not its result

    def _number(self, value: float):
        return (np.float32 if self.dtype == torch.float32 else np.float64)(value)

    def in_order(self, function: Callable, items: Iterable) -> Iterator:
        """Yield `function(item)` in the order of the items."""
        return self.workers.in_order(function, items)

    def centred(self, batch: torch.Tensor, mean: torch.Tensor, scale: float, bias: torch.Tensor):
        """x - bias (rows, d_model) for x = (batch - mean) / scale, and sum ||x - mean(x)||^2."""
        rows, block = len(batch), _block(len(batch))
        out = torch.empty((rows, len(mean)), dtype=self.dtype)
        squares, sums = np.empty(-(-rows // block)), np.zeros((-(-rows // block), len(mean)))
        x, mean, bias, inverse = batch.numpy(), mean.numpy(), bias.numpy(), self._number(1 / scale)

        def centre(low: int, high: int) -> None:
            i = low // block
            squares[i] = cpu_topk.centre(x[low:high], mean, inverse, bias, out[low:high].numpy(), sums[i])

        self.workers.each(rows, block, centre)
        return out, cpu_topk.variance(squares, sums, rows)

    def product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """a @ b, by blocks of rows."""
        out = torch.empty((len(a), b.shape[1]), dtype=self.dtype)
        self.workers.each(len(a), _block(len(a)), lambda low, high: torch.mm(a[low:high], b, out=out[low:high]))
        return out

    def encode(self, inputs: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Pre-activations (rows, n_latents), bias included. This thread's next call overwrites them."""
        pre = self._pre(len(inputs), len(encoder))

        def encode(low: int, high: int) -> None:
            torch.mm(inputs[low:high], encoder.T, out=pre[low:high])
            pre[low:high] += bias

        self.workers.each(len(inputs), _block(len(inputs)), encode)
        return pre

    def _pre(self, rows: int, n_latents: int) -> torch.Tensor:
        buffer = getattr(_buffers, "floats", None)
        if buffer is None or buffer.dtype != self.dtype or len(buffer) < rows * n_latents:
            buffer = _buffers.floats = torch.empty(rows * n_latents, dtype=self.dtype)
        return buffer[: rows * n_latents].view(rows, n_latents)

    def above(self, pre: torch.Tensor, floor: torch.Tensor) -> Entries | DenseEntries:
        """The entries of pre (rows, n_latents) above floor (n_latents,)."""
        counts = self._counts(pre, floor.numpy())
        if dense_is_faster(counts.sum(), pre):
            return DenseEntries(pre, floor)
        return self._entries(counts, *self._above_floor(pre, floor.numpy(), counts), pre.shape[1])

    def _counts(self, pre: torch.Tensor, floor: np.ndarray) -> np.ndarray:
        scores, counts = pre.numpy(), np.empty(len(pre), np.int64)

        def count(low: int, high: int) -> None:
            cpu_entries.count_above(scores[low:high], floor, counts[low:high])

        self.workers.each(len(pre), _block(len(pre)), count)
        return counts

    def _above_floor(self, pre: torch.Tensor, floor: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat lists of the latents above the floor, `counts` of them in each row, and of their values."""
        scores, starts = pre.numpy(), np.cumsum(counts) - counts
        latents, values = np.empty(counts.sum(), np.int32), np.empty(counts.sum(), scores.dtype)

        def fill(low: int, high: int) -> None:
            part = slice(low, high)
            cpu_entries.fill_above(scores[part], floor, starts[part], counts[part], latents, values)

        self.workers.each(len(pre), _block(len(pre)), fill)
        return latents, values

    def largest(self, pre: torch.Tensor, among: torch.Tensor, k: int) -> Entries:
        """The k largest positive entries of each row among the latents `among` (indices, ascending)."""
        rows, among = len(pre), among.numpy()
        starts, counts = np.arange(rows, dtype=np.int64) * k, np.zeros(rows, np.int64)
        latents, values = np.zeros(rows * k, np.int32), np.zeros(rows * k, pre.numpy().dtype)
        no_bias = np.zeros(len(among), values.dtype)

        def select(low: int, high: int) -> None:
            part = slice(low, high)
            chosen = np.ascontiguousarray(pre[part].numpy()[:, among])
            bits = chosen.view(f"i{chosen.itemsize}")
            cpu_topk.select(chosen, bits, no_bias, k, starts[part], counts[part], latents, values)

        self.workers.each(rows, _block(rows), select)
        found = (np.arange(k) < counts[:, None]).ravel()
        latents = among[latents[found]].astype(np.int32)
        return self._entries(counts, latents, values[found], pre.shape[1])

    def largest_of_all(self, pre: torch.Tensor, count: int) -> Entries:
        """The `count` largest positive entries of the batch, without ties at the cutoff."""
        floor = np.full(pre.shape[1], self.expected_cutoff, pre.numpy().dtype)
        counts = self._counts(pre, floor)
        if counts.sum() <= count and self.expected_cutoff:
            floor[:] = 0
            counts = self._counts(pre, floor)
        latents, values = self._above_floor(pre, floor, counts)
        if len(values) > count:
            place = len(values) - count - 1
            cutoff = np.partition(values, place)[place]
            kept = values > cutoff
            before = np.concatenate([[0], np.cumsum(kept)])
            ends = np.cumsum(counts)
            counts, latents, values = before[ends] - before[ends - counts], latents[kept], values[kept]
            self.expected_cutoff = CUTOFF_SHARE * float(cutoff)
        return self._entries(counts, latents, values, pre.shape[1])

    def _entries(self, counts: np.ndarray, latents: np.ndarray, values: np.ndarray, n_latents: int) -> Entries:
        starts, offsets = np.cumsum(counts) - counts, np.zeros(n_latents + 1, np.int64)
        order = np.empty(len(latents), np.int64)
        cpu_topk.count_by_latent(starts, counts, latents, offsets)
        np.cumsum(offsets, out=offsets)
        cpu_entries.order_by_latent(starts, counts, latents, offsets, order)
        rows = np.repeat(np.arange(len(starts), dtype=np.int64), counts)
        arrays = (starts, counts, rows, latents, values, order, offsets)
        return Entries(*(torch.from_numpy(a) for a in arrays), self)

    def reconstruct(self, entries: Entries, value, decoder: torch.Tensor, target: torch.Tensor, factor: float):
        """See `Entries.reconstruct`."""
        rows = len(target)
        error, through, losses = torch.empty_like(target), torch.empty_like(value), np.empty(rows)
        per_row = [t.numpy() for t in (entries.starts, entries.counts)]
        per_entry = [t.numpy() for t in (entries.latents, value)]
        targets, decoder_rows, errors, gradients = (t.numpy() for t in (target, decoder, error, through))

        def decode(low: int, high: int) -> None:
            part, unused = slice(low, high), np.zeros_like(targets[0])
            outputs = (errors[part], gradients, losses[part], unused)
            cpu_topk.decode(targets[part], decoder_rows, *(a[part] for a in per_row), *per_entry, *outputs)

        self.workers.each(rows, _block(rows), decode)
        return error, float(losses.sum()), through.mul_(factor)

    def decode(self, starts, counts, latents, value: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        """(rows, d_model): sum of value * decoder row over each row's entries, which are contiguous."""
        out = torch.empty((len(starts), decoder.shape[1]), dtype=self.dtype)
        arrays = [t.numpy() for t in (starts, counts, latents, value, decoder, out)]
        self.workers.each(len(out), _block(len(out)), lambda low, high: cpu_entries.decode_rows(low, high, *arrays))
        return out

    def dots(self, entries: Entries, error: torch.Tensor, decoder: torch.Tensor, shifts=None) -> torch.Tensor:
        """(entries,): error[row] . decoder[latent]; with `shifts` (n_latents,), error[row + shifts[latent]] instead."""
        out = torch.empty_like(entries.pre)
        tensors = (entries.starts, entries.counts, entries.latents, error, _shifts(shifts, entries), decoder, out)
        arrays = [t.numpy() for t in tensors]
        rows = entries.shape[0]
        self.workers.each(rows, _block(rows), lambda low, high: cpu_entries.row_dots(low, high, *arrays))
        return out

    def sums(self, entries: Entries, weights: torch.Tensor) -> torch.Tensor:
        """See `Entries.sums`."""
        out = torch.zeros(entries.shape[1], dtype=weights.dtype)
        arrays = [t.numpy() for t in (entries.offsets, weights[entries.order], out)]
        cpu_entries.sums_by_latent(0, len(out), *arrays)
        return out

    def row_sums(self, entries: Entries, weights: torch.Tensor, matrix: torch.Tensor, shifts=None) -> torch.Tensor:
        """See `Entries.row_sums`. With `shifts`, uses matrix[row + shifts[latent]]."""
        n_latents, order = entries.shape[1], entries.order
        out = torch.empty((n_latents, matrix.shape[1]), dtype=self.dtype)
        tensors = (entries.offsets, entries.rows[order], weights[order], matrix, _shifts(shifts, entries), out)
        arrays = [t.numpy() for t in tensors]
        self.workers.each(n_latents, _block(n_latents), lambda low, high: cpu_entries.row_sums(low, high, *arrays))
        return out

    def adam(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """One Adam step of a tensor, in place; `rate` and `correction` come from `adam.adam_factors`."""
        arrays = [t.view(-1).numpy() for t in (weight, gradient.contiguous(), first, second)]
        factors = self._number(rate), self._number(correction), self.constants
        self.workers.each(
            weight.numel(), _BLOCK, lambda low, high: cpu_topk.adam(*(a[low:high] for a in arrays), *factors)
        )

    def adam_unit_rows(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """`adam` for rows held at norm 1: first removes the gradient along the rows, then renormalises the rows."""
        arrays = [t.numpy() for t in (weight, gradient, first, second)]
        factors = self._number(rate), self._number(correction), self.constants
        self.workers.each(
            len(weight),
            _block(len(weight)),
            lambda low, high: cpu_entries.adam_unit_rows(*(a[low:high] for a in arrays), *factors),
        )


def _block(size: int) -> int:
    return max(64, min(512, -(-size // 8)))


def _shifts(shifts: torch.Tensor | None, entries: Entries) -> torch.Tensor:
    return torch.zeros(entries.shape[1], dtype=torch.int64) if shifts is None else shifts
