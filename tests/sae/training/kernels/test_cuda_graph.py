"""When a step is recorded, replayed and let go; a stand-in plays the graphs, as there is no device here."""

import contextlib
import gc
import weakref

import pytest
import torch

from sae_stability.sae.training.kernels import cuda_graph
from sae_stability.sae.training.kernels.cuda_graph import GraphedFunction


class Graph:
    """What `torch.cuda.CUDAGraph` is to `GraphedFunction`."""

    recording: "Graph | None" = None

    def pool(self) -> int:
        return self.used  # which a graph has once it is recorded

    def replay(self) -> None:
        self.launch()


class Sum:
    """Adds up what it is given, in place, as a training step does; recorded, it notes what a replay is to do."""

    def __init__(self) -> None:
        self.total, self.recorded, self.added = torch.zeros(()), GraphedFunction(), 0

    def step(self, given: torch.Tensor) -> float:
        return float(self.recorded(self.advance, given))

    def advance(self, given: torch.Tensor) -> torch.Tensor:
        if Graph.recording is None:
            return self.add(given)
        out, this = torch.zeros(()), weakref.ref(self)
        Graph.recording.launch = lambda: out.copy_(this().add(given))
        return out

    def add(self, given: torch.Tensor) -> torch.Tensor:
        self.added += 1
        self.total += given.sum()
        return self.total.clone()


@pytest.fixture(autouse=True)
def pools(monkeypatch) -> list[int]:
    """The pool of each recording: its own number, where it shares none."""
    used: list[int] = []

    @contextlib.contextmanager
    def record(graph, pool, capture_error_mode):
        graph.used = len(used) if pool is None else pool
        used.append(graph.used)
        Graph.recording = graph
        try:
            yield
        finally:
            Graph.recording = None

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(cuda_graph, "_latest", weakref.WeakValueDictionary())
    return used


def test_each_call_is_done_once_whether_launched_or_replayed(pools):
    one = Sum()
    assert [one.step(torch.full((3,), float(i))) for i in range(5)] == [0, 3, 9, 18, 30]
    assert one.added == 5
    assert pools == [0]


def test_another_shape_is_launched_and_then_recorded_anew(pools):
    one = Sum()
    sizes = (2, 2, 2, 3, 3, 3, 2, 2)
    assert [one.step(torch.ones(size)) for size in sizes] == [2, 4, 6, 9, 12, 15, 17, 19]
    assert pools == [0, 1, 2]


def test_a_result_is_not_overwritten_by_the_next():
    one = Sum()
    results = [one.recorded(one.advance, torch.ones(1)) for _ in range(4)]
    assert [float(result) for result in results] == [1, 2, 3, 4]


def test_recordings_share_a_pool_while_one_that_uses_it_lives(pools):
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


def test_recordings_of_streams_that_may_run_side_by_side_share_none(pools, monkeypatch):
    steps = [Sum() for _ in range(4)]
    for _ in range(2):
        for number, one in enumerate(steps):
            monkeypatch.setattr(torch.cuda, "current_stream", lambda device, number=number: f"stream {number % 2}")
            one.step(torch.ones(1))
    assert pools == [0, 1, 0, 1]


def test_what_is_recorded_is_let_go_without_waiting_for_a_collection():
    gc.disable()
    try:
        one = Sum()
        for _ in range(3):
            one.step(torch.ones(1))
        gone = weakref.ref(one), weakref.ref(one.recorded.graph)
        del one
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()
