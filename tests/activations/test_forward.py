import threading
import time
import weakref

import pytest
import torch

from sae_stability.activations.forward import workers
from sae_stability.threads import in_order


class Result:
    pass


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_from_several_threads_and_few_wait(count):
    started = []
    alive = weakref.WeakSet()
    together = threading.Barrier(count)

    def function(item: int) -> Result:
        started.append(item)
        together.wait(timeout=30)  # passes only if `count` items are under way at once
        time.sleep(0.002 * (item % 3))
        result = Result()
        result.item = item
        alive.add(result)
        return result

    items = count * 6
    for expected, result in enumerate(in_order(function, range(items), count)):
        assert result.item == expected
        assert len(started) <= expected + count + 1
        assert len(alive) <= count + 2
    assert sorted(started) == list(range(items))


def test_the_first_failure_in_order_is_the_one_reported():
    started = []

    def function(item: int) -> int:
        started.append(item)
        if item == 2:
            time.sleep(0.05)
        if item >= 2:
            raise ValueError(item)
        return item

    results = in_order(function, range(1000), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)
    assert len(started) <= 7


def test_a_batch_is_computed_on_one_thread_and_the_number_of_threads_comes_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with workers("cpu") as count:
            assert count == 3
            assert torch.get_num_threads() == 1
            assert list(in_order(lambda _: torch.get_num_threads(), range(6), count)) == [1] * 6
        assert torch.get_num_threads() == 3
        with workers("cuda") as count:
            assert count == 1
    finally:
        torch.set_num_threads(before)
