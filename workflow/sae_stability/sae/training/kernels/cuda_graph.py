"""Work on a CUDA device that is captured once and then launched as a whole (a CUDA graph)."""

from collections.abc import Callable
from weakref import WeakValueDictionary

import torch


class GraphedFunction:
    """A function of one tensor, captured at its second call and replayed from then on.

    The function must be the same at every call; it is not kept, because a bound method would keep its object alive in
    a cycle. It must launch the same kernels whatever the numbers are, wait for nothing, and keep what outlasts a call
    in tensors that it updates in place. The first call, when libraries and kernels get ready, runs the function as
    usual, and so does any call with a tensor of another shape.
    """

    def __init__(self) -> None:
        self.input = self.graph = self.result = None

    def __call__(self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """What `function` returns, in a tensor of its own; both on one CUDA device, and calls on one of its streams."""
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
        # Graphs of a stream share memory, as one runs at a time; a pool is gone with the last graph that uses it.
        stream = torch.cuda.current_stream(device)
        last = _latest.get(stream)
        pool = last.graph.pool() if last is not None and last.graph is not None else None
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device, as the one does that reads ahead.
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self.result = function(self.input)
        self.graph = graph
        _latest[stream] = self


_latest: WeakValueDictionary[torch.Stream, GraphedFunction] = WeakValueDictionary()
