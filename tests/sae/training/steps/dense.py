"""References: every architecture as in its paper, with dense tensors, autograd and torch.optim.Adam in float64."""

import numpy as np
import torch

from sae_stability.sae.training.steps.matryoshka import prefixes


class Rectangle(torch.autograd.Function):
    """1[pre > threshold], and the paper's pseudo-derivative for the threshold (JumpReLU, appendix J)."""

    @staticmethod
    def forward(context, pre, threshold, bandwidth):
        context.save_for_backward(pre, threshold)
        context.bandwidth = bandwidth
        return (pre > threshold).to(pre)

    @staticmethod
    def backward(context, gradient):
        pre, threshold = context.saved_tensors
        near = ((pre - threshold).abs() < context.bandwidth / 2) & (pre > 0)
        return torch.zeros_like(pre), (gradient * near * (-1 / context.bandwidth)).sum(0), None


class DenseReference:
    """One SAE in training. Each step gets the coefficient of the sparsity penalty."""

    unit_decoder = True

    def __init__(self, weights: dict[str, np.ndarray], settings, normalisation, frozen: str | None = None) -> None:
        self.settings, self.normalisation = settings, normalisation
        self.p = {name: torch.tensor(v, dtype=torch.float64) for name, v in self.initial(dict(weights)).items()}
        self.unit_decoder = self.unit_decoder and frozen != "decoder"
        self.trained = {name: value.requires_grad_() for name, value in self.p.items() if name != frozen}
        self.optimiser = torch.optim.Adam(self.trained.values(), lr=1.0)
        self.silent = torch.zeros(settings.n_latents, dtype=torch.int64)

    def initial(self, weights):
        return weights

    def penalty(self, coefficient, latents, pre):
        return 0.0

    def reconstruction_loss(self, x, latents):
        return (x - self.decode(latents)).square().sum()

    def decode(self, latents):
        return latents @ self.p["decoder"] + self.p["decoder_bias"]

    def pre(self, x):
        return (x - self.p["decoder_bias"]) @ self.p["encoder"].T + self.p["encoder_bias"]

    def step(self, batch: torch.Tensor, rate: float, coefficient: float = 0.0) -> tuple[float, float, float]:
        """FVU, AuxK and L0 before the update."""
        settings = self.settings
        x = (batch.double() - torch.tensor(self.normalisation.mean).double()) / self.normalisation.scale
        pre = self.pre(x)
        latents = self.latents(pre)
        variance = (x - x.mean(0)).square().sum()
        loss = (self.reconstruction_loss(x, latents) + self.penalty(coefficient, latents, pre)) / variance
        residual = (x - self.decode(latents)).detach()
        auxk = torch.zeros((), dtype=torch.float64)
        dead = self.silent > settings.dead_tokens
        if settings.auxk_alpha and dead.any():
            half = x.shape[1] // 2
            among = torch.where(dead, torch.relu(pre), -torch.inf).topk(min(half, int(dead.sum())), dim=1)
            revived = torch.zeros_like(pre).scatter(1, among.indices, among.values)
            auxk = min(int(dead.sum()) / half, 1.0) * (revived @ self.p["decoder"] - residual).square().sum() / variance
        self.optimiser.zero_grad()
        (loss + settings.auxk_alpha * auxk).backward()
        decoder = self.p["decoder"]
        if self.unit_decoder:
            decoder.grad -= (decoder.grad * decoder.data).sum(1, keepdim=True) * decoder.data
        self.gradients = {name: value.grad.clone() for name, value in self.trained.items()}
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        if self.unit_decoder:
            decoder.data /= decoder.data.norm(dim=1, keepdim=True)
        self.silent += len(x)
        self.silent[(latents > 0).any(0)] = 0
        return (residual.square().sum() / variance).item(), auxk.item(), (latents > 0).sum().item() / len(x)


class DenseTopK(DenseReference):
    def latents(self, pre):
        best = torch.relu(pre).topk(self.settings.k, dim=1)
        return torch.zeros_like(pre).scatter(1, best.indices, best.values)


class DenseBatchTopK(DenseReference):
    def latents(self, pre):
        pre = torch.relu(pre)
        best = pre.flatten().topk(self.settings.k * len(pre))
        return torch.zeros_like(pre.flatten()).scatter(0, best.indices, best.values).view_as(pre)


class DenseMatryoshka(DenseBatchTopK):
    def reconstruction_loss(self, x, latents):
        ends = prefixes(self.settings.n_latents, self.settings.groups or 5)
        inside = torch.arange(latents.shape[1])
        return sum((x - self.decode(latents * (inside < end))).square().sum() for end in ends) / len(ends)


class DenseReLU(DenseReference):
    unit_decoder = False

    def initial(self, weights):
        return weights | {"encoder": weights["decoder"] * 0.1, "decoder": weights["decoder"] * 0.1}

    def latents(self, pre):
        return torch.relu(pre)

    def penalty(self, coefficient, latents, pre):
        return coefficient * (latents * self.p["decoder"].norm(dim=1)).sum()


class DenseGated(DenseReference):
    def initial(self, weights):
        zeros = np.zeros(len(weights["encoder"]))
        return weights | {"magnitude_scale": zeros, "magnitude_bias": zeros}

    def pre(self, x):
        self.x, gate = x, super().pre(x)
        product = (x - self.p["decoder_bias"]) @ self.p["encoder"].T
        self.magnitude = product * self.p["magnitude_scale"].exp() + self.p["magnitude_bias"]
        return gate

    def latents(self, pre):
        return (pre > 0) * torch.relu(self.magnitude)

    def penalty(self, coefficient, latents, pre):
        gate = torch.relu(pre)
        by_gate = gate @ self.p["decoder"].detach() + self.p["decoder_bias"].detach()
        return coefficient * gate.sum() + (self.x - by_gate).square().sum()


class DenseJumpReLU(DenseReference):
    def initial(self, weights):
        self.unit = weights["encoder"].shape[1] ** 0.5
        return weights | {"threshold": np.full(len(weights["encoder"]), 0.001 * self.unit)}

    def latents(self, pre):
        self.fires = Rectangle.apply(pre, self.p["threshold"], self.settings.bandwidth * self.unit)
        # The derivative by pre treats 1[pre > threshold] as constant. The derivative by the threshold is
        # -threshold / bandwidth within the kernel, so pre is replaced by the threshold there.
        threshold = self.p["threshold"].detach()
        return pre * self.fires.detach() + threshold * (self.fires - self.fires.detach())

    def penalty(self, coefficient, latents, pre):
        return coefficient * self.fires.sum()

    taken = 0

    def step(self, x, rate, coefficient):
        result = super().step(x, rate, coefficient)
        self.taken += 1
        fallen = max(0.0, 1 - rate / self.settings.peak_learning_rate)
        if self.taken > self.settings.warmup_steps:
            ratio = np.clip(result[2] / self.settings.k, 0.2, 5)
            self.p["threshold"].data *= ratio ** (0.05 * fallen)
        self.p["threshold"].data.clamp_(min=0)
        return result


DENSE = {
    "topk": DenseTopK,
    "batchtopk": DenseBatchTopK,
    "matryoshka": DenseMatryoshka,
    "relu": DenseReLU,
    "gated": DenseGated,
    "jumprelu": DenseJumpReLU,
}
