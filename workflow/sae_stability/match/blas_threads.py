"""Threads that each multiply on one core: two products side by side beat one product on two cores."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> ThreadpoolController:
    # Looking for the loaded BLAS takes milliseconds, more than a small matching.
    return ThreadpoolController()


@contextlib.contextmanager
def workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `threads` threads, with BLAS held to one thread each while it lasts."""
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield pool
