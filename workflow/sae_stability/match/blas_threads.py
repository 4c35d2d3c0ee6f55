"""Threads that each multiply on one core: two products side by side are faster than one product on two cores."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> ThreadpoolController:
    # Cached, because the search for loaded BLAS libraries takes milliseconds, longer than a small matching.
    return ThreadpoolController()


@contextlib.contextmanager
def workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `threads` threads; while it is open, each BLAS call uses one thread."""
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield pool
