"""The TopK training step in plain torch operations, for any device; the same arithmetic as `cpu_step`.

No tensor of shape (batch, k, d_model) is made, and sums over a latent's activations run in a fixed order (a stable
sort, then a segmented sum by `embedding_bag`), so the same device gives the same bits.
"""

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from sae_stability.sae.normalise import Normalisation
from sae_stability.sae.settings import TrainSettings
from sae_stability.sae.step import BETA1, BETA2, EPSILON, StepResult, adam_factors

PARAMETERS = ("encoder", "decoder", "encoder_bias", "decoder_bias")


def segment_sums(matrix, rows, weights, latents, n_latents) -> torch.Tensor:
    """out[i] = sum over entries p of latent i of weights[p] * matrix[rows[p]]; entries in any order."""
    order = torch.argsort(latents, stable=True)
    counts = torch.bincount(latents, minlength=n_latents)
    offsets = torch.cumsum(counts, 0) - counts
    return embedding_bag(rows[order], matrix, offsets, per_sample_weights=weights[order], mode="sum")


class TorchTopKStep:
    """TopK with optional AuxK (`step.Step`)."""

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        settings: TrainSettings,
        normalisation: Normalisation,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.settings = settings
        self.parameters = {n: torch.as_tensor(weights[n], dtype=dtype, device=device).clone() for n in PARAMETERS}
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.mean = torch.as_tensor(normalisation.mean, dtype=dtype, device=device)
        self.inverse_scale = 1 / normalisation.scale
        self.steps = 0
        self.silent = torch.zeros(settings.n_latents, dtype=torch.int64, device=device)

    def step(self, batch: torch.Tensor, rate: float) -> StepResult:
        """Advance by one batch (batch_size, d_model) at learning rate `rate`."""
        fvu, auxk, l0, gradients = self.gradients(batch)
        if not np.isfinite(fvu):
            return StepResult(fvu, 0.0, 0.0, 0)
        self._update(gradients, rate)
        return StepResult(fvu, auxk, l0, int((self.silent > self.settings.dead_tokens).sum()))

    def gradients(self, batch: torch.Tensor) -> tuple[float, float, float, dict[str, torch.Tensor]]:
        """FVU, AuxK, L0 and the loss's gradient for every parameter; moves the dead counters on."""
        p, settings = self.parameters, self.settings
        x = (batch.to(self.mean) - self.mean) * self.inverse_scale
        inputs = x - p["decoder_bias"]
        variance = (x - x.mean(0)).square().sum(dtype=torch.float64)
        pre = torch.relu(torch.addmm(p["encoder_bias"], inputs, p["encoder"].T))
        best = pre.topk(settings.k, dim=1)
        error = self._decode(best.indices, best.values) - inputs
        loss = error.square().sum(dtype=torch.float64)
        scale = (2 / variance).to(x.dtype)
        entries = [self._entries(best, error, scale)]
        dead = torch.nonzero(self.silent > settings.dead_tokens)[:, 0] if settings.auxk_alpha > 0 else self.silent[:0]
        self.silent += len(x)
        self.silent[best.indices[best.values > 0]] = 0
        auxk = 0.0
        if len(dead):
            half = max(1, x.shape[1] // 2)
            weight = min(1.0, len(dead) / half)
            auxiliary = pre[:, dead].topk(min(half, len(dead)), dim=1)
            auxiliary = torch.return_types.topk((auxiliary.values, dead[auxiliary.indices]))
            left = self._decode(auxiliary.indices, auxiliary.values) + error
            auxk = weight * float(left.square().sum(dtype=torch.float64) / variance)
            entries.append(self._entries(auxiliary, left, scale * settings.auxk_alpha * weight))
        gradients = self._sum(entries, inputs)
        gradients["decoder_bias"] = error.sum(0) * scale - gradients["encoder_bias"] @ p["encoder"]
        return float(loss / variance), auxk, float((best.values > 0).sum() / len(x)), gradients

    def _decode(self, index: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return embedding_bag(index, self.parameters["decoder"], per_sample_weights=value, mode="sum")

    def _entries(self, best, error: torch.Tensor, scale: torch.Tensor):
        """(error, latents, rows, values * scale, value gradients * scale) of the latents that fired."""
        value_gradient = torch.empty_like(best.values)
        for slot in range(best.values.shape[1]):
            rows = self.parameters["decoder"][best.indices[:, slot]]
            value_gradient[:, slot] = (error * rows).sum(1)
        fired = best.values > 0
        row, _ = torch.nonzero(fired, as_tuple=True)
        return error, best.indices[fired], row, best.values[fired] * scale, value_gradient[fired] * scale

    def _sum(self, entries: list, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gradients of encoder, decoder and encoder bias: sums over the entries of each latent."""
        n_latents = self.settings.n_latents
        ones = torch.ones((len(inputs), 1), dtype=inputs.dtype, device=inputs.device)
        total: dict[str, torch.Tensor] = {}
        for error, latents, rows, values, gradients in entries:
            parts = {
                "encoder": segment_sums(inputs, rows, gradients, latents, n_latents),
                "decoder": segment_sums(error, rows, values, latents, n_latents),
                "encoder_bias": segment_sums(ones, rows, gradients, latents, n_latents)[:, 0],
            }
            total = {name: total[name] + part for name, part in parts.items()} if total else parts
        return total

    def _update(self, gradients: dict[str, torch.Tensor], rate: float) -> None:
        decoder = self.parameters["decoder"]
        gradient = gradients["decoder"]
        gradient -= (gradient * decoder).sum(1, keepdim=True) * decoder
        self.steps += 1
        rate, correction = adam_factors(rate, self.steps)
        for name, weight in self.parameters.items():
            first, second, gradient = self.first[name], self.second[name], gradients[name]
            first.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            weight.addcdiv_(first, second.sqrt().mul_(correction).add_(EPSILON), value=-rate)
        decoder /= decoder.norm(dim=1, keepdim=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters, both moments, dead counters and the step number."""
        tensors = {"silent": self.silent, "steps": torch.tensor([self.steps])}
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            tensors |= {prefix + name: value for name, value in values.items()}
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` returned."""
        for prefix, values in (("", self.parameters), ("first.", self.first), ("second.", self.second)):
            for name, value in values.items():
                value.copy_(state[prefix + name])
        self.silent.copy_(state["silent"])
        self.steps = int(state["steps"][0])

    def weights(self) -> dict[str, torch.Tensor]:
        """Encoder, decoder and both biases."""
        return {name: value.detach().cpu().clone() for name, value in self.parameters.items()}
