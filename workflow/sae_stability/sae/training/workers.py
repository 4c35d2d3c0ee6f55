"""Threads that share fixed blocks of work.

The blocks depend only on the problem's size, never on the number of threads, and one thread computes each block. So the
results have the same bits for any number of threads. Kernels and matrix products release the interpreter's lock.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from sae_stability.threads import Item, Result, in_order_by

MOST_AHEAD = 8  # results computed ahead; each may be large


class Workers:
    """A pool of `threads` threads, used as a context manager.

    Inside the context, torch runs its own operations on one thread, and numbers below 1e-38 are flushed to 0. Adam's
    moments of latents that stopped firing decay to such numbers, which would slow the processor down tenfold.
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
        """Yield `function(item)` in the order of the items, while threads compute up to MOST_AHEAD of the next ones.

        A `function` that itself calls `each` may be used only with a single item, which runs in the calling thread. In
        the pool's threads it would wait for the pool forever.
        """
        items = list(items)
        if self._pool is None or len(items) == 1:
            return map(function, items)
        return in_order_by(self._pool, function, items, min(self.threads, MOST_AHEAD))


def _prepare_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
