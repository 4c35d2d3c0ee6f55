"""Work on a CUDA device that is recorded once and then launched as a whole (a CUDA graph)."""

from collections.abc import Callable
from weakref import WeakValueDictionary

import torch


class Recorded:
    """A function of one tensor, recorded when it is called for the second time and replayed from then on.

    The function is the same at every call; it is not kept, because a bound method would keep what it belongs to alive
    in a cycle. It must do the same launches whatever the numbers are, wait for nothing, and keep what outlasts a call
    in tensors that it updates in place; it is called as usual the first time, when libraries and kernels get ready,
    and whenever the tensor has another shape.
    """

    def __init__(self) -> None:
        self.given = self.graph = self.result = None

    def __call__(self, function: Callable[[torch.Tensor], torch.Tensor], given: torch.Tensor) -> torch.Tensor:
        """What `function` returns, in a tensor of its own; both on one CUDA device, and calls on one of its streams."""
        if self.given is None or given.shape != self.given.shape:
            self.graph = self.result = None
            self.given = torch.empty_like(given)
            return function(given)
        self.given.copy_(given)
        if self.graph is None:
            self._record(function)
        self.graph.replay()
        return self.result.clone()

    def _record(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        device = self.given.device
        # Recordings of a stream share memory, as one runs at a time; a pool is gone with the last graph that uses it.
        stream = torch.cuda.current_stream(device)
        last = _latest.get(stream)
        pool = last.graph.pool() if last is not None and last.graph is not None else None
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device, as the one does that reads ahead.
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self.result = function(self.given)
        self.graph = graph
        _latest[stream] = self


_latest: WeakValueDictionary[torch.Stream, Recorded] = WeakValueDictionary()
