"""The numba and torch TopK steps against dense autograd in float64: loss, gradients, Adam and decoder norms."""

import numpy as np
import pytest
import torch

from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
from sae_stability.sae.training.steps.topk_torch import TorchTopKStep
from sae_stability.sae.training.workers import Workers

DEAD_AFTER = 60


def settings_for(n_latents: int, k: int, batch: int, auxk_alpha: float) -> TrainSettings:
    # The 12 steps compared end before a Gated SAE first resamples dead latents, after an eighth of the training.
    return TrainSettings(
        n_latents=n_latents,
        k=k,
        tokens=batch * 200,
        chunk_tokens=batch * 200,
        batch_size=batch,
        auxk_alpha=auxk_alpha,
        dead_tokens=DEAD_AFTER,
        learning_rate=1e-3,
    )


def start(n_latents: int, d_model: int) -> dict[str, np.ndarray]:
    weights = {name: value.astype(np.float64) for name, value in initial_weights(n_latents, d_model, 0, "here").items()}
    weights["decoder"] /= np.linalg.norm(weights["decoder"], axis=1, keepdims=True)
    random = np.random.default_rng(1)
    weights["encoder_bias"] = random.normal(size=n_latents) * 0.1
    return weights | {"decoder_bias": random.normal(size=d_model) * 0.1}


class DenseAutograd:
    """The reference: dense tensors, torch.autograd, torch.optim.Adam; AuxK as sparsify writes it, residual detached."""

    def __init__(self, weights: dict[str, np.ndarray], settings: TrainSettings, normalisation: Normalisation) -> None:
        self.settings, self.normalisation = settings, normalisation
        self.p = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
        self.optimiser = torch.optim.Adam(self.p.values(), lr=1.0)
        self.silent = torch.zeros(settings.n_latents, dtype=torch.int64)

    def step(self, batch: torch.Tensor, rate: float) -> tuple[float, float]:
        p, settings = self.p, self.settings
        x = (batch.double() - torch.tensor(self.normalisation.mean).double()) / self.normalisation.scale
        pre = torch.relu((x - p["decoder_bias"]) @ p["encoder"].T + p["encoder_bias"])
        best = pre.topk(settings.k, dim=1)
        latents = torch.zeros_like(pre).scatter(1, best.indices, best.values)
        x_hat = latents @ p["decoder"] + p["decoder_bias"]
        variance = (x - x.mean(0)).square().sum()
        fvu = (x - x_hat).square().sum() / variance
        auxk = torch.zeros((), dtype=torch.float64)
        dead = self.silent > settings.dead_tokens
        if settings.auxk_alpha and dead.any():
            half = x.shape[1] // 2
            among_dead = torch.where(dead, pre, -torch.inf).topk(min(half, int(dead.sum())), dim=1)
            revived = torch.zeros_like(pre).scatter(1, among_dead.indices, among_dead.values)
            residual = (x - x_hat).detach()
            auxk = min(int(dead.sum()) / half, 1.0) * (revived @ p["decoder"] - residual).square().sum() / variance
        self.optimiser.zero_grad()
        (fvu + settings.auxk_alpha * auxk).backward()
        decoder = p["decoder"]
        decoder.grad -= (decoder.grad * decoder.data).sum(1, keepdim=True) * decoder.data
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        decoder.data /= decoder.data.norm(dim=1, keepdim=True)
        self.silent += len(x)
        self.silent[(latents > 0).any(0)] = 0
        return fvu.item(), auxk.item()


CASES = {
    "plain": (48, 12, 5, 32, 0.0),
    "AuxK, few dead": (40, 24, 3, 32, 1 / 32),
    "AuxK, more dead than d_model / 2": (160, 10, 2, 32, 0.5),
    "k above the spans of a row": (40, 9, 17, 8, 0.0),
    "k = n_latents": (20, 6, 20, 8, 0.0),
    "fewer latents than a span": (7, 5, 2, 16, 0.0),
    "one latent, one dimension": (1, 1, 1, 8, 0.0),
}


@pytest.mark.parametrize("kind", ["numba", "torch"])
@pytest.mark.parametrize("case", CASES)
def test_steps_equal_dense_autograd_in_float64(case: str, kind: str) -> None:
    n_latents, d_model, k, batch, auxk_alpha = CASES[case]
    settings = settings_for(n_latents, k, batch, auxk_alpha)
    random = np.random.default_rng(2)
    normalisation = Normalisation(random.normal(size=d_model).astype(np.float32), 1.7)
    weights = start(n_latents, d_model)
    reference = DenseAutograd(weights, settings, normalisation)
    with Workers(1) as workers:
        if kind == "numba":
            step = CpuTopKStep(weights, settings, normalisation, workers, np.float64)
        else:
            step = TorchTopKStep(weights, settings, normalisation, torch.device("cpu"), torch.float64)
        saw_auxk = False
        for i in range(12):
            x = torch.from_numpy(random.normal(size=(batch, d_model)) * 2 + 1)
            expected_fvu, expected_auxk = reference.step(x, 1e-2 / (i + 1))
            result = step.step(x, 1e-2 / (i + 1))
            saw_auxk |= expected_auxk > 0
            assert result.fvu == pytest.approx(expected_fvu, rel=1e-10)
            assert result.auxk == pytest.approx(expected_auxk, rel=1e-10)
            assert result.dead == int((reference.silent > settings.dead_tokens).sum())
            for name, value in step.weights().items():
                np.testing.assert_allclose(
                    value, reference.p[name].detach(), rtol=1e-7, atol=1e-9, err_msg=f"{name}, step {i}"
                )
    assert saw_auxk == (auxk_alpha > 0)
