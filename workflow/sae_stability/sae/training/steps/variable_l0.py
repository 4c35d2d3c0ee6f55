"""A training step for architectures whose latents fire in varying numbers: a `protocol.Step` but for the loss.

An architecture subclasses `EntryStep` and says which latents count (`select`) and what the loss and its gradients are
(`loss`). Everything else is here: input normalisation, AuxK, dead counters, Adam, unit decoder rows, the state.
All losses are divided by the batch's variance, sum ||x - mean(x)||^2, as in TopK's; Adam does not notice.
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
    """What `EntryStep.loss` returns of some rows; everything already divided by the batch's variance.

    Attributes:
        fvu: squared error of the whole reconstruction.
        error: (rows, d_model) x_hat - x.
        fired: (n_latents,) in how many rows each latent is above 0.
        gradients: of every parameter, and what `update` needs besides, by a name of its own; of `decoder_bias` only
            what does not come through the encoder's input.
        through_input: (n_latents,) gradient of each latent's encoder product, summed over the rows.
    """

    fvu: float
    error: torch.Tensor
    fired: torch.Tensor
    gradients: dict[str, torch.Tensor]
    through_input: torch.Tensor

    @classmethod
    def of_all(cls, parts: Iterator["Loss"]) -> "Loss":
        """The loss of all rows from those of some, in order; the first one is used up."""
        whole = next(parts)
        errors = [whole.error]
        for part in parts:
            whole.fvu += part.fvu
            whole.fired += part.fired
            # Not in place: a gradient may be the same tensor.
            whole.through_input = whole.through_input + part.through_input
            for name, gradient in part.gradients.items():
                whole.gradients[name] += gradient
            errors.append(part.error)
        whole.error = torch.cat(errors) if len(errors) > 1 else errors[0]
        return whole


class EntryStep:
    """An SAE in training; see the module. Parameters besides the four of every SAE come from `initial`."""

    unit_decoder = True
    """Whether decoder rows are held at norm 1 (the gradient along them removed, rows renormalised after each step)."""

    aims_at_l0 = False

    memory_size = 0
    """Numbers besides parameters that a subclass keeps in `memory` (float64), part of the state."""

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        settings: TrainSettings,
        normalisation: Normalisation,
        operations: Operations,
    ) -> None:
        self.settings, self.operations = settings, operations
        weights = self.initial(weights)
        self.parameters = {name: operations.tensor(value) for name, value in weights.items()}
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.mean, self.scale = operations.tensor(normalisation.mean), normalisation.scale
        self.silent = torch.zeros(settings.n_latents, dtype=torch.int64, device=operations.device)
        self.memory = np.zeros(self.memory_size)
        self.steps = 0

    def initial(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The parameters before the first step, from `initial_weights` and the decoder bias."""
        return weights

    def select(self, pre: torch.Tensor) -> Entries | DenseEntries:
        """The latents that take part, from pre-activations (rows, n_latents), bias included."""
        raise NotImplementedError

    def loss(self, inputs: torch.Tensor, entries: Entries, variance: float) -> Loss:
        """Loss and gradients of some rows; `inputs` (rows, d_model) is x - decoder_bias. Threads call it side by side.

        Where many latents fire, `entries` is a `DenseEntries`.
        """
        raise NotImplementedError

    def before(self, variance: float, numbers: int) -> None:
        """What a subclass needs of the batch's variance and its `numbers` before it computes losses of parts."""

    def after(self, l0: float, rate: float) -> None:
        """What a subclass does at the end of a step, to its `memory`."""

    def revive(self, inputs: torch.Tensor, error: torch.Tensor) -> None:
        """What a subclass does at the end of a step for latents that have died; `inputs` and `error` as in `loss`."""

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Advance by one batch (batch_size, d_model) at learning rate `rate`."""
        p, operations = self.parameters, self.operations
        inputs, variance = operations.centred(batch, self.mean, self.scale, p["decoder_bias"])
        if not variance > 0:
            return StepResult(float("nan"), 0.0, 0.0, 0)
        pre = operations.encode(inputs, p["encoder"], p["encoder_bias"])
        entries = self.select(pre)
        self.before(variance, inputs.numel())
        of_parts = operations.in_order(lambda part: self.loss(inputs[part[0]], part[1], variance), entries.parts())
        loss = Loss.of_all(of_parts)
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
        self.after(l0, rate)
        self.revive(inputs, loss.error)
        return StepResult(loss.fvu, auxk, l0, int((self.silent > self.settings.dead_tokens).sum()))

    def reconstruct(self, entries: Entries, value: torch.Tensor, target: torch.Tensor, variance: float):
        """x_hat - x (rows, d_model); sum ||x_hat - x||^2 / variance; the gradient of this for `value` (entries,)."""
        error, square, through = entries.reconstruct(value, self.parameters["decoder"], target, 2 / variance)
        return error, square / variance, through

    def linear_gradients(self, entries: Entries, inputs, error, value, through_pre, variance: float):
        """Gradients of encoder, decoder and decoder bias (direct part), and each latent's sum of `through_pre`.

        Args:
            error: (rows, d_model). value: (entries,) what multiplies the decoder rows.
            through_pre: (entries,) gradient of the loss for each entry's encoder product. Both 0 where no entry is.
        """
        error = error * (2 / variance)
        gradients = {
            "encoder": entries.row_sums(through_pre, inputs),
            "decoder": entries.row_sums(value, error),
            "decoder_bias": error.sum(0),
        }
        return gradients, entries.sums(through_pre)

    def _add_auxiliary(self, inputs, pre: torch.Tensor, loss: Loss, dead: torch.Tensor, variance: float) -> float:
        """AuxK as TopK has it (`topk_cpu.AuxiliaryEntries`); adds its gradients and returns it without its weight."""
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
        """Let Adam move every parameter by the gradients of the whole batch."""
        self.steps += 1
        factors = adam_factors(rate, self.steps)
        for name, weight in self.parameters.items():
            unit = self.unit_decoder and name == "decoder"
            adam = self.operations.adam_unit_rows if unit else self.operations.adam
            adam(weight, gradients[name], self.first[name], self.second[name], *factors)

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters, both moments, dead counters, the step number and `memory`."""
        tensors = {"silent": self.silent, "steps": torch.tensor([self.steps]), "memory": torch.from_numpy(self.memory)}
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            tensors |= {prefix + name: value for name, value in values.items()}
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` returned."""
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            for name, value in values.items():
                value.copy_(state[prefix + name])
        self.silent.copy_(state["silent"])
        self.memory[:] = state["memory"].numpy()
        self.steps = int(state["steps"][0])

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters; a subclass turns them into what is saved."""
        return {name: value.detach().cpu().clone() for name, value in self.parameters.items()}


def make_operations(device: torch.device, workers: Workers) -> Operations:
    """Kernels on shared-out blocks on a CPU and, with Triton, on CUDA; torch operations elsewhere."""
    torch.set_float32_matmul_precision("highest")  # no TF32
    if device.type == "cpu":
        from sae_stability.sae.training.kernels.cpu_ops import CpuOperations

        return CpuOperations(workers)
    if device.type == "cuda" and find_spec("triton"):
        from sae_stability.sae.training.kernels.triton_ops import TritonOperations

        return TritonOperations(device)
    return Operations(device)
