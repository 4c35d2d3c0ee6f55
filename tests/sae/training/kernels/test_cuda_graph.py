"""When a function is captured, replayed and released. A stand-in for CUDA graphs replaces the device."""

import contextlib
import gc
import weakref

import pytest
import torch

from sae_stability.sae.training.kernels import cuda_graph
from sae_stability.sae.training.kernels.cuda_graph import GraphedFunction


class Graph:
    """A stand-in for `torch.cuda.CUDAGraph`, as far as `GraphedFunction` uses it."""

    capturing: "Graph | None" = None

    def pool(self) -> int:
        return self.used  # set by the capture

    def replay(self) -> None:
        self.launch()


class Sum:
    """Adds up its inputs in place, as a training step does. During a capture it stores the work of a replay."""

    def __init__(self) -> None:
        self.total, self.graphed, self.added = torch.zeros(()), GraphedFunction(), 0

    def step(self, x: torch.Tensor) -> float:
        return float(self.graphed(self.advance, x))

    def advance(self, x: torch.Tensor) -> torch.Tensor:
        if Graph.capturing is None:
            return self.add(x)
        out, this = torch.zeros(()), weakref.ref(self)
        Graph.capturing.launch = lambda: out.copy_(this().add(x))
        return out

    def add(self, x: torch.Tensor) -> torch.Tensor:
        self.added += 1
        self.total += x.sum()
        return self.total.clone()


@pytest.fixture(autouse=True)
def pools(monkeypatch) -> list[int]:
    """The pool of each capture; a capture with a new pool gets its own number."""
    used: list[int] = []

    @contextlib.contextmanager
    def capture(graph, pool, capture_error_mode):
        graph.used = len(used) if pool is None else pool
        used.append(graph.used)
        Graph.capturing = graph
        try:
            yield
        finally:
            Graph.capturing = None

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(cuda_graph, "_latest", weakref.WeakValueDictionary())
    return used


def test_each_call_is_done_once_whether_launched_or_replayed(pools):
    one = Sum()
    assert [one.step(torch.full((3,), float(i))) for i in range(5)] == [0, 3, 9, 18, 30]
    assert one.added == 5
    assert pools == [0]


def test_another_shape_is_launched_and_then_captured_again(pools):
    one = Sum()
    sizes = (2, 2, 2, 3, 3, 3, 2, 2)
    assert [one.step(torch.ones(size)) for size in sizes] == [2, 4, 6, 9, 12, 15, 17, 19]
    assert pools == [0, 1, 2]


def test_a_result_is_not_overwritten_by_the_next_call():
    one = Sum()
    results = [one.graphed(one.advance, torch.ones(1)) for _ in range(4)]
    assert [float(result) for result in results] == [1, 2, 3, 4]


def test_captures_share_a_pool_while_one_that_uses_it_is_alive(pools):
    one, two = Sum(), Sum()
    for _ in range(3):
        one.step(torch.ones(1))
        two.step(torch.ones(1))
    assert pools == [0, 0]
    del one, two
    three = Sum()
    three.step(torch.ones(1))
    three.step(torch.ones(1))
    assert pools == [0, 0, 2]


def test_captures_of_different_streams_share_no_pool(pools, monkeypatch):
    steps = [Sum() for _ in range(4)]
    for _ in range(2):
        for number, one in enumerate(steps):
            monkeypatch.setattr(torch.cuda, "current_stream", lambda device, number=number: f"stream {number % 2}")
            one.step(torch.ones(1))
    assert pools == [0, 1, 0, 1]


def test_captures_are_released_without_garbage_collection():
    gc.disable()
    try:
        one = Sum()
        for _ in range(3):
            one.step(torch.ones(1))
        gone = weakref.ref(one), weakref.ref(one.graphed.graph)
        del one
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()
