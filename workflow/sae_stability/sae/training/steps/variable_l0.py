"""Base class of training steps where the number of firing latents varies: a `protocol.Step` without the loss.

An architecture subclasses `EntryStep` and defines which latents fire (`select`) and the loss with its gradients
(`loss`). Everything else is here: input normalisation, AuxK, dead counters, Adam, unit decoder rows, the state. All
losses are divided by the batch's variance, sum ||x - mean(x)||^2, as for TopK; Adam does not depend on this scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch

from sae_stability.sae.training.kernels.adam import adam_factors
from sae_stability.sae.training.kernels.dense_latents import DenseEntries
from sae_stability.sae.training.kernels.torch_ops import Entries, Operations
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import StepResult
from sae_stability.sae.training.workers import Workers


@dataclass
class Loss:
    """Loss and gradients on some rows of a batch. All but `error` and `fired` are divided by the batch's variance.

    Attributes:
        fvu: squared error of the whole reconstruction.
        error: (rows, d_model) x_hat - x.
        fired: (n_latents,) number of rows in which each latent is above 0.
        gradients: gradient of every parameter; for `decoder_bias`, without the part through the encoder's input. A
            subclass may add further sums that its `update` needs.
        through_input: (n_latents,) gradient by each latent's encoder product, summed over the rows.
    """

    fvu: float
    error: torch.Tensor
    fired: torch.Tensor
    gradients: dict[str, torch.Tensor]
    through_input: torch.Tensor

    @classmethod
    def combined(cls, parts: Iterator["Loss"]) -> "Loss":
        """The loss on all rows, from the losses on parts of them, in order. Changes the first part in place."""
        whole = next(parts)
        errors = [whole.error]
        for part in parts:
            whole.fvu += part.fvu
            whole.fired += part.fired
            # Not in place, because an entry of `gradients` may be the same tensor.
            whole.through_input = whole.through_input + part.through_input
            for name, gradient in part.gradients.items():
                whole.gradients[name] += gradient
            errors.append(part.error)
        whole.error = torch.cat(errors) if len(errors) > 1 else errors[0]
        return whole


class EntryStep:
    """Training step of an SAE; see the module. `initial_parameters` adds parameters beside the four of every SAE."""

    unit_decoder = True
    """Whether decoder rows are held at norm 1: the gradient along them is removed, and each step renormalises them."""

    aims_at_l0 = False

    memory_size = 0
    """Size of `memory`: numbers (float64) that a subclass keeps in the state, beside its parameters."""

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        settings: TrainSettings,
        normalisation: Normalisation,
        operations: Operations,
    ) -> None:
        self.settings, self.operations = settings, operations
        weights = self.initial_parameters(weights)
        self.parameters = {name: operations.tensor(value) for name, value in weights.items()}
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.mean, self.scale = operations.tensor(normalisation.mean), normalisation.scale
        self.silent = torch.zeros(settings.n_latents, dtype=torch.int64, device=operations.device)
        self.memory = np.zeros(self.memory_size)
        self.steps = 0

    def initial_parameters(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The parameters before the first step, from `initial_weights` and the decoder bias."""
        return weights

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """The latents that enter the loss, from pre-activations (rows, n_latents), bias included."""
        raise NotImplementedError

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Loss and gradients on some rows of the batch. Called by several threads at the same time.

        Args:
            inputs: (rows, d_model) x - decoder_bias.
            entries: the selected latents of these rows; a `DenseEntries` if many latents fire.
            variance: sum ||x - mean(x)||^2 of the whole batch.
        """
        raise NotImplementedError

    def before_loss(self, variance: float, n_values: int) -> None:
        """Hook before the loss: receives the batch's variance and its number of values, rows * d_model."""

    def after_update(self, l0: float, rate: float) -> None:
        """Hook after Adam's update, for `memory`: receives the batch's L0 and the learning rate."""

    def revive(self, inputs: torch.Tensor, error: torch.Tensor) -> None:
        """Hook at the end of a step, for dead latents; `inputs` and `error` are those of the whole batch."""

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Train on one batch (batch_size, d_model) at learning rate `rate`."""
        p, operations = self.parameters, self.operations
        inputs, variance = operations.centred(batch, self.mean, self.scale, p["decoder_bias"])
        if not variance > 0:
            return StepResult(float("nan"), 0.0, 0.0, 0)
        pre = operations.encode(inputs, p["encoder"], p["encoder_bias"])
        entries = self.select(pre)
        self.before_loss(variance, inputs.numel())
        part_losses = operations.in_order(lambda part: self.loss(inputs[part[0]], part[1], variance), entries.parts())
        loss = Loss.combined(part_losses)
        if not np.isfinite(loss.fvu):
            return StepResult(loss.fvu, 0.0, 0.0, 0)
        dead = torch.nonzero(self.silent > self.settings.dead_tokens)[:, 0]
        auxk = self._add_auxiliary(inputs, pre, loss, dead, variance) if self.settings.auxk_alpha and len(dead) else 0.0
        bias = loss.gradients["decoder_bias"] - operations.product(loss.through_input[None], p["encoder"])[0]
        loss.gradients["decoder_bias"] = bias
        self.silent += len(inputs)
        self.silent[loss.fired > 0] = 0
        l0 = float(loss.fired.sum()) / len(inputs)
        self.update(loss.gradients, rate)
        self.after_update(l0, rate)
        self.revive(inputs, loss.error)
        return StepResult(loss.fvu, auxk, l0, int((self.silent > self.settings.dead_tokens).sum()))

    def reconstruct(self, entries: Entries, value: torch.Tensor, target: torch.Tensor, variance: float):
        """Decode `value` (entries,) and compare the result x_hat with `target` (rows, d_model).

        Returns:
            x_hat - target (rows, d_model); sum ||x_hat - target||^2 / variance; its gradient by `value`.
        """
        error, square, through = entries.reconstruct(value, self.parameters["decoder"], target, 2 / variance)
        return error, square / variance, through

    def linear_gradients(self, entries: Entries, inputs, error, value, through_pre, variance: float):
        """Gradients by encoder, decoder and decoder bias (without the part through the encoder's input).

        Args:
            inputs: (rows, d_model) x - decoder_bias.
            error: (rows, d_model) x_hat - x.
            value: (entries,) activations, which multiply the decoder rows; 0 where a dense matrix has no entry.
            through_pre: (entries,) gradient by each entry's encoder product; 0 where a dense matrix has no entry.

        Returns:
            The gradients by name, and each latent's sum of `through_pre`, (n_latents,).
        """
        error = error * (2 / variance)
        gradients = {
            "encoder": entries.row_sums(through_pre, inputs),
            "decoder": entries.row_sums(value, error),
            "decoder_bias": error.sum(0),
        }
        return gradients, entries.sums(through_pre)

    def _add_auxiliary(self, inputs, pre: torch.Tensor, loss: Loss, dead: torch.Tensor, variance: float) -> float:
        """Add the gradients of AuxK (`topk_cpu.AuxiliaryEntries`) to `loss`. Returns AuxK without `auxk_alpha`."""
        half = max(1, inputs.shape[1] // 2)
        weight = min(1.0, len(dead) / half)
        entries = self.operations.largest(pre, dead, min(half, len(dead)))
        error, auxk, through_pre = self.reconstruct(entries, entries.pre, -loss.error, variance)
        factor = weight * self.settings.auxk_alpha
        gradients, sums = self.linear_gradients(entries, inputs, error, entries.pre, through_pre, variance)
        for name, gradient in (("encoder", gradients["encoder"]), ("decoder", gradients["decoder"])):
            loss.gradients[name].add_(gradient, alpha=factor)
        loss.gradients["encoder_bias"] = loss.gradients["encoder_bias"] + sums * factor
        loss.through_input = loss.through_input + sums * factor
        return weight * auxk

    def update(self, gradients: dict[str, torch.Tensor], rate: float) -> None:
        """Update every parameter by Adam with the gradients of the whole batch."""
        self.steps += 1
        factors = adam_factors(rate, self.steps)
        for name, weight in self.parameters.items():
            unit = self.unit_decoder and name == "decoder"
            adam = self.operations.adam_unit_rows if unit else self.operations.adam
            adam(weight, gradients[name], self.first[name], self.second[name], *factors)

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters, both moments of Adam, dead counters, the number of steps and `memory`."""
        tensors = {"silent": self.silent, "steps": torch.tensor([self.steps]), "memory": torch.from_numpy(self.memory)}
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            tensors |= {prefix + name: value for name, value in values.items()}
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            for name, value in values.items():
                value.copy_(state[prefix + name])
        self.silent.copy_(state["silent"])
        self.memory[:] = state["memory"].numpy()
        self.steps = int(state["steps"][0])

    def parameter_names(self) -> list[str]:
        """The names of the parameters."""
        return list(self.parameters)

    def parameter(self, name: str) -> torch.Tensor:
        """A parameter; not a copy."""
        return self.parameters[name]

    def put(self, name: str, value: torch.Tensor) -> None:
        """Replace the values of a parameter, in place."""
        self.parameters[name].copy_(value)

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters. Subclasses convert them to the form that is saved."""
        return {name: value.detach().cpu().clone() for name, value in self.parameters.items()}


def make_operations(device: torch.device, workers: Workers) -> Operations:
    """Operations for a device: numba kernels on a CPU, Triton kernels on CUDA if Triton exists, else plain torch."""
    torch.set_float32_matmul_precision("highest")  # no TF32
    if device.type == "cpu":
        from sae_stability.sae.training.kernels.cpu_ops import CpuOperations

        return CpuOperations(workers)
    if device.type == "cuda" and find_spec("triton"):
        from sae_stability.sae.training.kernels.triton_ops import TritonOperations

        return TritonOperations(device)
    return Operations(device)
