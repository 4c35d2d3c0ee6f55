"""The TopK training step on a CPU: explicit sparse gradients in numba, the dense product by BLAS.

A step first goes over the batch in tiles (product, selection, decoding), so pre-activations are never stored for the
whole batch. Then it goes over the latents in blocks (gradients, optimiser). `topk_torch` does the same arithmetic in
plain torch operations.
"""

import numpy as np
import torch

from sae_stability.sae.training.kernels import cpu_topk
from sae_stability.sae.training.kernels.adam import BETA1, BETA2, EPSILON, adam_factors
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import StepResult
from sae_stability.sae.training.workers import Workers

# These functions of PyTorch are private and may disappear. Without them, bfloat16 products count as unsupported.
BFLOAT16_PRODUCTS = any(
    getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
)
PARAMETERS = ("encoder", "decoder", "encoder_bias", "decoder_bias")


class CpuTopKStep:
    """TopK with optional AuxK; a `protocol.Step`. `dtype` is float64 only in tests of gradients."""

    aims_at_l0 = False

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        settings: TrainSettings,
        normalisation: Normalisation,
        workers: Workers,
        dtype: type = np.float32,
    ) -> None:
        self.settings, self.workers = settings, workers
        self.mean, self.inverse_scale = normalisation.mean.astype(dtype), dtype(1 / normalisation.scale)
        self.parameters = {name: _aligned(np.array(weights[name], dtype, order="C")) for name in PARAMETERS}
        self.first = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self.steps = 0
        self.silent = np.zeros(settings.n_latents, np.int64)  # activations since a latent last fired
        self.touched = np.zeros(settings.n_latents, np.bool_)
        self.constants = tuple(dtype(c) for c in (BETA1, 1 - BETA1, BETA2, 1 - BETA2, EPSILON))
        self._allocate(settings.batch_size, self.parameters["encoder"].shape, dtype)

    def _allocate(self, batch: int, shape: tuple[int, int], dtype: type) -> None:
        n_latents, d_model = shape
        # Larger tiles make the product faster; more tiles spread better over threads.
        self.tile_rows = max(256, min(512, batch // 8))
        room = batch * self.settings.k
        self.inputs = _aligned(np.empty((batch, d_model), dtype))
        self.error = np.empty((batch, d_model), dtype)
        self.starts = np.arange(batch, dtype=np.int64) * self.settings.k
        self.counts = np.zeros(batch, np.int64)
        self.index = np.zeros(room, np.int32)
        self.value, self.value_gradient = np.empty(room, dtype), np.empty(room, dtype)
        self.row_loss = np.empty(batch, np.float64)
        self.sorted = (np.empty(room, np.int32), np.empty(room, dtype), np.empty(room, dtype))
        self.offsets = np.empty(n_latents + 1, np.int64)
        self.block = max(64, min(512, -(-n_latents // 8)))
        self.bias_parts = np.empty((-(-n_latents // self.block), d_model), dtype)
        self.squares = np.empty(-(-batch // self.tile_rows), np.float64)
        self.sums = np.empty((len(self.squares), d_model), np.float64)
        self.error_sums = np.empty((len(self.squares), d_model), dtype)
        self.tiles: list[torch.Tensor] = []
        self.low_encoder: torch.Tensor | None = None  # the encoder in bfloat16, if the product uses that

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Train on one batch (batch_size, d_model) at learning rate `rate`."""
        x = batch.numpy()
        dead = np.empty(0, np.int64)
        if self.settings.auxk_alpha > 0:
            dead = np.flatnonzero(self.silent > self.settings.dead_tokens)
        auxiliary = AuxiliaryEntries(self, dead) if len(dead) else None
        if self.settings.product_dtype == "bfloat16":
            self.low_encoder = _bfloat16(torch.from_numpy(self.parameters["encoder"]))
        self.workers.each(len(x), self.tile_rows, lambda start, stop: self._forward(x, start, stop, auxiliary))
        variance = cpu_topk.variance(self.squares, self.sums, len(x))
        loss = self.row_loss.sum()
        fvu = float(loss / variance) if variance > 0 else float("nan")
        if not np.isfinite(fvu):
            return StepResult(fvu, 0.0, 0.0, 0)
        auxk = auxiliary.finish() / variance if auxiliary else 0.0
        self._backward(variance, auxiliary, rate)
        n_dead = np.count_nonzero(self.silent > self.settings.dead_tokens)
        return StepResult(fvu, auxk, float(self.counts.mean()), n_dead)

    def _tile(self) -> torch.Tensor:
        """A free buffer for the pre-activations of one tile. Thread-safe, since list.pop and append are atomic."""
        try:
            return self.tiles.pop()
        except IndexError:
            return torch.empty((self.tile_rows, self.settings.n_latents), dtype=torch.from_numpy(self.inputs).dtype)

    def _forward(self, x: np.ndarray, start: int, stop: int, auxiliary: "AuxiliaryEntries | None") -> None:
        part, tile = slice(start, stop), start // self.tile_rows
        self.sums[tile] = 0
        self.error_sums[tile] = 0
        decoder_bias = self.parameters["decoder_bias"]
        self.squares[tile] = cpu_topk.centre(
            x[part], self.mean, self.inverse_scale, decoder_bias, self.inputs[part], self.sums[tile]
        )
        buffer = self._tile()
        pre = buffer[: stop - start]
        self._product(torch.from_numpy(self.inputs[part]), pre)
        cpu_topk.select(
            *_with_bits(pre.numpy()),
            self.parameters["encoder_bias"],
            self.settings.k,
            self.starts[part],
            self.counts[part],
            self.index,
            self.value,
        )
        if self.low_encoder is not None:
            cpu_topk.evaluate(
                self.inputs[part],
                self.parameters["encoder"],
                self.parameters["encoder_bias"],
                self.starts[part],
                self.counts[part],
                self.index,
                self.value,
            )
        cpu_topk.decode(
            self.inputs[part],
            self.parameters["decoder"],
            self.starts[part],
            self.counts[part],
            self.index,
            self.value,
            self.error[part],
            self.value_gradient,
            self.row_loss[part],
            self.error_sums[tile],
        )
        if auxiliary:
            auxiliary.forward(pre.numpy(), start, stop)
        self.tiles.append(buffer)

    def _product(self, inputs: torch.Tensor, pre: torch.Tensor) -> None:
        """pre = inputs encoder^T."""
        if self.low_encoder is None:
            torch.mm(inputs, torch.from_numpy(self.parameters["encoder"]).T, out=pre)
        elif self.low_encoder.dtype == pre.dtype:
            torch.mm(_bfloat16(inputs), self.low_encoder.T, out=pre)
        else:
            pre.copy_(_bfloat16(inputs) @ self.low_encoder.T)

    def _backward(self, variance: float, auxiliary: "AuxiliaryEntries | None", rate: float) -> None:
        dtype = self.inputs.dtype.type
        scale = dtype(2 / variance)
        self._sort(scale, auxiliary, dtype)
        error = self.error if auxiliary is None else np.concatenate([self.error, auxiliary.error])
        self.steps += 1
        rate, correction = (dtype(factor) for factor in adam_factors(rate, self.steps))
        names = PARAMETERS[:3]
        weights, first, second = (tuple(d[n] for n in names) for d in (self.parameters, self.first, self.second))

        def update(low: int, high: int) -> None:
            cpu_topk.update_latents(
                low,
                high,
                self.offsets,
                *self.sorted,
                error,
                self.inputs,
                weights,
                first,
                second,
                self.touched,
                self.block,
                self.bias_parts,
                (rate, correction, self.constants),
            )

        n_latents = self.settings.n_latents
        self.workers.each(n_latents, self.block if self.workers.threads > 1 else n_latents, update)
        gradient = self.error_sums.sum(axis=0) * scale - self.bias_parts.sum(axis=0)
        parameters = (d["decoder_bias"] for d in (self.parameters, self.first, self.second))
        weight, first, second = parameters
        cpu_topk.adam(weight, gradient, first, second, rate, correction, self.constants)

    def _sort(self, scale: float, auxiliary: "AuxiliaryEntries | None", dtype: type) -> None:
        """Sort the entries of the batch, and those of AuxK, by latent, and update the dead counters."""
        rows = len(self.inputs)
        self.offsets[:] = 0
        cpu_topk.count_by_latent(self.starts, self.counts, self.index, self.offsets)
        self.silent += rows
        self.silent[self.offsets[1:] > 0] = 0
        if auxiliary:
            cpu_topk.count_by_latent(auxiliary.starts, auxiliary.counts, auxiliary.index, self.offsets)
        np.cumsum(self.offsets, out=self.offsets)
        if len(self.sorted[0]) < self.offsets[-1]:
            room = int(self.offsets[-1])
            self.sorted = (np.empty(room, np.int32), np.empty(room, dtype), np.empty(room, dtype))
        cursor = self.offsets[:-1].copy()
        entries = (self.starts, self.counts, self.index, self.value, self.value_gradient)
        cpu_topk.sort_by_latent(*entries, scale, 0, cursor, *self.sorted)
        if auxiliary:
            entries = (auxiliary.starts, auxiliary.counts, auxiliary.index, auxiliary.value, auxiliary.value_gradient)
            weight = dtype(scale * self.settings.auxk_alpha * auxiliary.weight)
            cpu_topk.sort_by_latent(*entries, weight, rows, cursor, *self.sorted)

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters, both moments of Adam, dead counters and the number of steps."""
        tensors = {"silent": self.silent, "touched": self.touched, "steps": np.array([self.steps])}
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            tensors |= {prefix + name: value for name, value in values.items()}
        return {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            for name, value in values.items():
                value[...] = state[prefix + name].numpy()
        self.silent[:], self.touched[:] = state["silent"].numpy(), state["touched"].numpy()
        self.steps = int(state["steps"][0])

    def parameter_names(self) -> list[str]:
        """The names of the parameters."""
        return list(self.parameters)

    def parameter(self, name: str) -> torch.Tensor:
        """A parameter; not a copy."""
        return torch.from_numpy(self.parameters[name])

    def put(self, name: str, value: torch.Tensor) -> None:
        """Replace the values of a parameter, in place."""
        self.parameters[name][...] = value.numpy()

    def weights(self) -> dict[str, torch.Tensor]:
        """Encoder, decoder and both biases."""
        return {name: torch.from_numpy(value.copy()) for name, value in self.parameters.items()}


def _aligned(values: np.ndarray) -> np.ndarray:
    """A copy aligned to 64 bytes (numpy aligns to 16), because rounding in products can depend on alignment."""
    return torch.from_numpy(values).clone().numpy()


def _with_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The floats, and a view of the same memory as integers."""
    return values, values.view(f"i{values.itemsize}")


class AuxiliaryEntries:
    """AuxK (Gao et al. 2024, appendix A.2; sparsify 1.3.3): dead latents predict the error of the reconstruction.

    loss = weight * sum ||e_hat - (x - x_hat)||^2 / variance, where e_hat is the sum, without decoder bias, over the
    k_aux = min(d_model / 2, n_dead) dead latents with the largest pre-activations; x - x_hat is treated as a constant;
    weight = min(1, n_dead / (d_model / 2)). Unlike in sparsify's fused encoder, the gradient reaches the encoder.
    """

    def __init__(self, step: CpuTopKStep, dead: np.ndarray) -> None:
        rows, d_model = step.inputs.shape
        half = max(1, d_model // 2)
        self.step, self.dead = step, dead
        self.k = min(half, len(dead))
        self.weight = min(1.0, len(dead) / half)
        self.no_bias = np.zeros(len(dead), step.inputs.dtype)  # `pre` already includes the bias
        self.starts = np.arange(rows, dtype=np.int64) * self.k
        self.counts = np.zeros(rows, np.int64)
        self.index = np.zeros(rows * self.k, np.int32)
        self.value = np.empty(rows * self.k, step.inputs.dtype)
        self.value_gradient = np.empty_like(self.value)
        self.error = np.empty_like(step.inputs)
        self.row_loss = np.empty(rows, np.float64)
        self.unused_sum = np.zeros(d_model, step.inputs.dtype)

    def forward(self, pre: np.ndarray, start: int, stop: int) -> None:
        """Select and decode for rows start to stop - 1. `pre` holds their pre-activations, bias included."""
        part = slice(start, stop)
        among_dead = np.ascontiguousarray(pre[:, self.dead])
        cpu_topk.select(
            *_with_bits(among_dead), self.no_bias, self.k, self.starts[part], self.counts[part], self.index, self.value
        )
        slots = slice(start * self.k, stop * self.k)
        self.index[slots] = self.dead[self.index[slots]]
        cpu_topk.decode(
            -self.step.error[part],
            self.step.parameters["decoder"],
            self.starts[part],
            self.counts[part],
            self.index,
            self.value,
            self.error[part],
            self.value_gradient,
            self.row_loss[part],
            self.unused_sum,
        )

    def finish(self) -> float:
        """weight * sum ||e_hat - (x - x_hat)||^2."""
        return self.weight * float(self.row_loss.sum())


def _bfloat16(values: torch.Tensor) -> torch.Tensor:
    """Values rounded to bfloat16, stored as float32 if the processor has no instructions for bfloat16 products.

    These instructions multiply exactly and add in float32. A float32 product of the rounded values therefore gives the
    same result, up to the order and rounding of additions. PyTorch's bfloat16 product without such instructions would
    be many times slower.
    """
    rounded = values.to(torch.bfloat16)
    return rounded if BFLOAT16_PRODUCTS else rounded.float()
