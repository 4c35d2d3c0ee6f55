"""The TopK training step on a GPU: one dense product by cuBLAS, everything sparse by Triton kernels.

Same arithmetic as `topk_torch`, which is its reference. Pre-activations are stored for one tile of rows at a time;
tensors of shape (batch, k, d_model) and gradients of parameters are never stored. So beside parameters and moments, the
memory is `TILE_BYTES` and a few tensors of the batch's size (twice as many in steps with AuxK).

A step never waits for the device, except that AuxK needs the number of dead latents. So a loss that is not finite is
noticed late; the kernels therefore leave all weights unchanged in that case. A step without AuxK is captured once and
replayed (`cuda_graph`), because launching its kernels takes longer than a small step itself.

With `product_dtype` bfloat16, the product multiplies bfloat16 copies of inputs and encoder; decoding and gradient sums
read bfloat16 copies of decoder rows, inputs and errors. All sums and parameters are float32. With float32, TF32 is off.

Two runs on the same device give the same bits, because no sum uses atomics. cuBLAS is deterministic only while its
products do not run concurrently; to run them concurrently in one process, set CUBLAS_WORKSPACE_CONFIG=:4096:8.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels import triton_sparse as kernels
from sae_stability.sae.training.kernels.adam import adam_factors
from sae_stability.sae.training.kernels.cuda_graph import GraphedFunction
from sae_stability.sae.training.kernels.triton_topk import largest
from sae_stability.sae.training.kernels.triton_update import LatentTensors, update_latents
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import StepResult
from sae_stability.sae.training.steps.topk_torch import TorchTopKStep

TILE_BYTES = 1 << 28  # size of a tile of pre-activations: enough rows to keep a large GPU busy


class TritonTopKStep(TorchTopKStep):
    """TopK with optional AuxK; a `protocol.Step` whose results are 0-d tensors on the device."""

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        settings: TrainSettings,
        normalisation: Normalisation,
        device: torch.device,
    ) -> None:
        super().__init__(weights, settings, normalisation, device)
        bfloat16 = settings.product_dtype == "bfloat16"
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.copies = {name: self.parameters[name].to(self.dtype) for name in ("encoder", "decoder")}
        self.factors = torch.empty(2, device=device)
        self.graphed_step = GraphedFunction()
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        super().load_state(state)
        # In place, since a captured step reads these addresses.
        for name, copy in self.copies.items():
            copy.copy_(self.parameters[name])

    def put(self, name: str, value: torch.Tensor) -> None:
        """Replace the values of a parameter and of the copy that products read, in place."""
        super().put(name, value)
        if name in self.copies:
            self.copies[name].copy_(self.parameters[name])

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Train on one batch (batch_size, d_model) at learning rate `rate`."""
        settings = self.settings
        self.steps += 1
        kernels.set_factors(self.factors, *adam_factors(rate, self.steps))
        dead = torch.nonzero(self.silent > settings.dead_tokens)[:, 0] if settings.auxk_alpha > 0 else self.silent[:0]
        if len(dead) or batch.device.type != "cuda":
            return StepResult(*self._advance(batch, dead))
        return StepResult(*self.graphed_step(self._advance, batch))

    def _advance(self, batch: torch.Tensor, dead: torch.Tensor | None = None) -> torch.Tensor:
        """Take a step, with AuxK for the `dead` latents. Returns the fields of `StepResult`, (4,) float64."""
        dead = self.silent[:0] if dead is None else dead
        bias = self.parameters["decoder_bias"]
        inputs, read, variance = kernels.prepare(batch.to(self.mean), self.mean, 1 / self.scale, bias, self.dtype)
        fired, revived = self._encode(read, dead)
        error, gradient, loss = kernels.decode(inputs, self.copies["decoder"], *fired)
        entries, errors, auxk = _listed(fired, gradient, 0), error, torch.zeros_like(variance)
        if len(dead):
            half = max(1, inputs.shape[1] // 2)
            weight = min(1.0, len(dead) / half)
            left, gradient, left_loss = kernels.decode(-error, self.copies["decoder"], *revived)
            auxk = left_loss.sum(dtype=torch.float64) / variance * weight
            factor = weight * self.settings.auxk_alpha
            more = _listed((revived[0], revived[1] * factor), gradient * factor, len(inputs))
            entries = [torch.cat(lists) for lists in zip(entries, more, strict=True)]
            errors = torch.cat([error, left])
        fvu = loss.sum(dtype=torch.float64) / variance
        scale = torch.where(torch.isfinite(fvu), 2 / variance, torch.nan).float()
        self._update_all(entries, error, errors, read, scale, fired[0].numel())
        l0 = (fired[1] > 0).sum() / len(inputs)
        n_dead = (self.silent > self.settings.dead_tokens).sum()
        return torch.stack([fvu, auxk, l0.double(), n_dead.double()])

    def _encode(self, inputs: torch.Tensor, dead: torch.Tensor):
        """(index, value) of the k largest latents of each row, and the same for the largest dead latents."""
        (rows, d_model), n_latents = inputs.shape, self.settings.n_latents
        encoder, bias = self.copies["encoder"].T, self.parameters["encoder_bias"]
        height = min(rows, max(1, TILE_BYTES // (n_latents * self.dtype.itemsize)))
        tile = torch.empty((height, n_latents), dtype=self.dtype, device=inputs.device)
        fired = _slots(rows, self.settings.k, inputs.device)
        revived = _slots(rows, min(max(1, d_model // 2), len(dead)), inputs.device)
        for start in range(0, rows, height):
            part = slice(start, min(rows, start + height))
            pre = tile[: part.stop - start]
            torch.mm(inputs[part], encoder, out=pre)
            largest(pre, bias, self.settings.k, fired[0][part], fired[1][part])
            if len(dead):
                largest(pre[:, dead], bias[dead], revived[0].shape[1], revived[0][part], revived[1][part])
        if len(dead):
            names = torch.cat([dead, dead.new_full((1,), n_latents)]).to(torch.int32)
            revived = names[revived[0].long()], revived[1]
        return fired, revived

    def _update_all(self, entries, error, errors, inputs, scale, n_main: int) -> None:
        tensors = (self.parameters, self.first, self.second)
        state = [LatentTensors(*(named[name] for name in LatentTensors._fields)) for named in tensors]
        copies = (self.copies["encoder"], self.copies["decoder"])
        arguments = (*entries, errors, inputs, scale, self.silent, *state, copies, self.factors, n_main)
        gradient = error.sum(0, dtype=torch.float32) - update_latents(*arguments).sum(0)
        kernels.adam(*(named["decoder_bias"] for named in tensors), gradient, scale, self.factors)


def _slots(rows: int, k: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.empty((rows, k), dtype=dtype, device=device) for dtype in (torch.int32, torch.float32))


def _listed(entries: tuple[torch.Tensor, torch.Tensor], gradient: torch.Tensor, shift: int) -> list[torch.Tensor]:
    """Index, row + shift, value and gradient, each as a flat list."""
    index, value = entries
    rows = torch.arange(shift, shift + len(index), dtype=torch.int32, device=index.device)
    rows = rows[:, None].expand_as(index)
    return [lists.reshape(-1) for lists in (index, rows, value, gradient)]
