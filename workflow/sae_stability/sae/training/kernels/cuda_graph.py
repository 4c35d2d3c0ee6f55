"""Capture work on a CUDA device once, then replay it as one CUDA graph."""

from collections.abc import Callable
from weakref import WeakValueDictionary

import torch


class GraphedFunction:
    """A function of one tensor, captured at its second call and replayed at later calls.

    The function must be the same at every call. It is not stored, because a bound method would keep its object alive in
    a reference cycle. It must launch the same kernels for any values, must not wait for the device, and must keep its
    state in tensors that it updates in place. The first call runs the function normally, so that libraries and kernels
    are initialised before the capture. A call with a tensor of another shape starts over.
    """

    def __init__(self) -> None:
        self.input = self.graph = self.result = None

    def __call__(self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """The result of `function(x)`, in a new tensor. All calls must be on one CUDA device and one stream."""
        if self.input is None or x.shape != self.input.shape:
            self.graph = self.result = None
            self.input = torch.empty_like(x)
            return function(x)
        self.input.copy_(x)
        if self.graph is None:
            self._capture(function)
        self.graph.replay()
        return self.result.clone()

    def _capture(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        device = self.input.device
        # Graphs of one stream run one at a time, so they share a memory pool. It is freed with its last graph.
        stream = torch.cuda.current_stream(device)
        last = _latest.get(stream)
        pool = last.graph.pool() if last is not None and last.graph is not None else None
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile: one copies the next shard.
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self.result = function(self.input)
        self.graph = graph
        _latest[stream] = self


_latest: WeakValueDictionary[torch.Stream, GraphedFunction] = WeakValueDictionary()
