"""`torch_ops` on CUDA: Triton kernels where torch would write large temporary tensors."""

import torch

from sae_stability.sae.training.kernels import triton_sparse as kernels
from sae_stability.sae.training.kernels.torch_ops import Entries, Operations


class TritonOperations(Operations):
    """Same results as `Operations` up to rounding."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.one = torch.ones((), device=device)
        self.current_factors, self.factors = (0.0, 0.0), torch.zeros(2, device=device)

    def dots(self, entries: Entries, error: torch.Tensor, decoder: torch.Tensor, shifts=None) -> torch.Tensor:
        """See `Operations.dots`."""
        rows = entries.rows if shifts is None else entries.rows + shifts[entries.latents]
        return kernels.dots(error, decoder, rows, entries.latents)

    def adam(self, weight, gradient, first, second, rate: float, correction: float) -> None:
        """One Adam step of a tensor, in place; `rate` and `correction` come from `adam.adam_factors`."""
        if (rate, correction) != self.current_factors:  # they change once per step
            self.current_factors = (rate, correction)
            kernels.set_factors(self.factors, *self.current_factors)
        kernels.adam(weight, first, second, gradient, self.one, self.factors)
