"""A few threads that share out fixed blocks of work.

The blocks depend on the problem's size alone, never on the number of threads, and each is computed by one thread:
so the same bits come out whatever the number of threads. Kernels and matrix products release the interpreter's lock.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from sae_stability.threads import Item, Result, in_order_by

MEANWHILE = 8  # results that may be large


class Workers:
    """`threads` threads; use as a context manager.

    While it is open, torch runs its own operations on one thread, and numbers below 1e-38 count as 0 (a moment that
    decays for latents that stopped firing would otherwise slow the processor down by a factor of ten).
    """

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)

    def __enter__(self) -> "Workers":
        self._torch_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self._pool = ThreadPoolExecutor(self.threads, initializer=_prepare_thread) if self.threads > 1 else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        torch.set_flush_denormal(False)
        torch.set_num_threads(self._torch_threads)

    def each(self, size: int, block: int, work: Callable[[int, int], None]) -> None:
        """Call `work(start, stop)` for every block of `range(size)`; return when all are done."""
        starts = range(0, size, block)
        if self._pool is None or len(starts) == 1:
            for start in starts:
                work(start, min(start + block, size))
        else:
            for _ in self._pool.map(lambda start: work(start, min(start + block, size)), starts):
                pass

    def in_order(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `function` of each item, in the items' order, while threads compute up to MEANWHILE that follow.

        A function that shares out work itself must be called for one item alone, here, or its threads would wait for
        each other.
        """
        items = list(items)
        if self._pool is None or len(items) == 1:
            return map(function, items)
        return in_order_by(self._pool, function, items, min(self.threads, MEANWHILE))


def _prepare_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
