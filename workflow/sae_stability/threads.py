"""Compute results ahead of time in threads, and yield them in order."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
    """Yield `function` of each item, in the items' order, while `count` threads compute those that follow.

    At most `count + 2` results exist at once. An exception is raised when its item's turn comes.
    """
    with ThreadPoolExecutor(count) as pool:
        yield from in_order_by(pool, function, items, count)


def in_order_by(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """As `in_order`, with the threads of `pool`."""
    waiting: collections.deque[Future] = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
