"""Work on a CUDA device that is recorded once and then launched as a whole (a CUDA graph)."""

from collections.abc import Callable

import torch

_pools: dict[torch.device, tuple[int, int]] = {}  # memory that recordings of a device share: one runs at a time


class Recorded:
    """`function` of one tensor, recorded when it is called for the second time and replayed from then on.

    The function must do the same launches whatever the numbers are, wait for nothing, and keep what outlasts a call in
    tensors that it updates in place; it is called as usual the first time, when libraries and kernels get ready, and
    whenever the tensor has another shape.

    Args:
        function: tensor -> tensor, both on one CUDA device.
    """

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.function = function
        self.graph: torch.cuda.CUDAGraph | None = None
        self.given: torch.Tensor | None = None

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        """What `function` returns, in a tensor of its own."""
        if self.given is None or given.shape != self.given.shape:
            self.graph, self.given = None, torch.empty_like(given)
            return self.function(given)
        self.given.copy_(given)
        if self.graph is None:
            self._record()
        self.graph.replay()
        return self.result.clone()

    def _record(self) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.given.device):
            pool = _pools.setdefault(self.given.device, torch.cuda.graph_pool_handle())
            # Other threads may go on using the device, as the one does that reads ahead.
            with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
                self.result = self.function(self.given)
