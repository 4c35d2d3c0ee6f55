"""Every architecture's step, with kernels and with torch operations, against dense autograd in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.training.kernels import dense_latents, torch_ops
from sae_stability.sae.training.kernels.cpu_ops import CpuOperations
from sae_stability.sae.training.kernels.torch_ops import Operations
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
from sae_stability.sae.training.steps.topk_torch import TorchTopKStep
from sae_stability.sae.training.workers import Workers
from tests.sae.training.steps.dense import DENSE
from tests.sae.training.steps.test_gradients import settings_for, start

OWN = {"matryoshka": {"groups": 3}, "jumprelu": {"bandwidth": 0.2}}
CASES = {
    "plain": ("batchtopk matryoshka relu gated jumprelu", (48, 12, 5, 32), 0.0),
    "few latents": ("batchtopk matryoshka relu gated jumprelu", (7, 5, 2, 16), 0.0),
    "every latent may fire": ("batchtopk matryoshka", (20, 6, 20, 8), 0.0),
    "one latent, one dimension": ("batchtopk relu gated jumprelu", (1, 1, 1, 8), 0.0),
    "AuxK, few dead": ("batchtopk matryoshka", (40, 24, 1, 32), 1 / 32),
    "AuxK, more dead than d_model / 2": ("batchtopk matryoshka", (160, 10, 1, 32), 0.5),
}
PAIRS = [(case, name) for case, (names, _, _) in CASES.items() for name in names.split()]
DENSE_TOO = ("relu", "gated", "jumprelu")  # many latents may fire


def make(name: str, kind: str, weights, settings, normalisation, workers):
    """A step in float64, with kernels (`numba`) or torch operations."""
    if name == "topk":
        if kind == "numba":
            return CpuTopKStep(weights, settings, normalisation, workers, np.float64)
        return TorchTopKStep(weights, settings, normalisation, torch.device("cpu"), torch.float64)
    module = architecture(name)
    (step,) = [v for k, v in vars(module).items() if k.endswith("Step") and v.__module__ == module.__name__]
    if kind == "numba":
        return step(weights, settings, normalisation, CpuOperations(workers, torch.float64))
    return step(weights, settings, normalisation, Operations(torch.device("cpu"), torch.float64))


def coefficient_of(step, batch: torch.Tensor) -> float:
    """The penalty's coefficient that the step is about to use, not divided by the variance."""
    if not hasattr(step, "controller"):
        return 0.0
    x = (batch - step.mean) / step.scale
    return step.controller.coefficient(step.start * float(x.var(0, unbiased=False).mean()) ** (step.power / 2))


@pytest.mark.parametrize("kind", ["numba", "torch"])
@pytest.mark.parametrize(
    ("case", "name", "dense"),
    [(*pair, dense) for pair in PAIRS for dense in (False, True)[: 1 + (pair[1] in DENSE_TOO)]],
)
def test_steps_equal_dense_autograd_in_float64(case, name, kind, dense, monkeypatch) -> None:
    monkeypatch.setattr(torch_ops, "DENSE_FROM", 0 if dense else 2)
    monkeypatch.setattr(dense_latents, "ROWS", 5)  # several parts per batch; the last one is incomplete
    (n_latents, d_model, k, batch), auxk_alpha = CASES[case][1:]
    settings = replace(settings_for(n_latents, k, batch, auxk_alpha), architecture=name, **OWN.get(name, {}))
    random = np.random.default_rng(2)
    normalisation = Normalisation(random.normal(size=d_model).astype(np.float32), 1.7)
    weights = start(n_latents, d_model)
    reference = DENSE[name](weights, settings, normalisation)
    saw_auxk = False
    with Workers(2) as workers:
        step = make(name, kind, weights, settings, normalisation, workers)
        for i in range(12):
            x = torch.from_numpy(random.normal(size=(batch, d_model)) * 2 + 1)
            rate = 1e-2 / (i + 1)
            expected = reference.step(x, rate, coefficient_of(step, x))
            result = step.step(x, rate)
            saw_auxk |= result.auxk > 0
            assert (result.fvu, result.auxk, result.l0) == pytest.approx(expected, rel=1e-9)
            assert result.dead == int((reference.silent > settings.dead_tokens).sum())
            for parameter, value in step.parameters.items():
                expected = reference.p[parameter].detach()
                np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-9, err_msg=f"{parameter}, step {i}")
    assert saw_auxk == (auxk_alpha > 0)


@pytest.mark.parametrize("kind", ["numba", "torch"])
@pytest.mark.parametrize("name", [name for name, entry in REGISTRY.items() if "auxk_alpha" in entry.settings])
def test_auxk_reaches_encoder_and_decoder_of_dead_latents(name, kind) -> None:
    """In sparsify's fused encoder, the backward pass drops AuxK's gradient, which is then 0 for the encoder."""
    settings = replace(settings_for(40, 6, 64, 0.5), architecture=name, dead_tokens=1)
    weights = start(40, 8)
    weights["encoder_bias"] = np.where(np.arange(40) < 20, 0.0, -50.0)  # the second half never fires ...
    nothing = Normalisation(np.zeros(8, np.float32), 1.0)
    random = np.random.default_rng(0)
    with Workers(1) as workers:
        step = make(name, kind, weights, settings, nothing, workers)
        step.step(torch.from_numpy(random.normal(size=(64, 8))), 0.0)
        # ... until it is just below the others: sometimes positive, but never among the largest.
        step.parameters["encoder_bias"][20:] = -1.0
        step.parameters["encoder_bias"][:20] = 50.0
        assert [count > 1 for count in step.silent.tolist()] == [False] * 20 + [True] * 20
        before = {parameter: value.numpy() for parameter, value in step.weights().items()}
        result = step.step(torch.from_numpy(random.normal(size=(64, 8)) * 3), 1e-3)
    assert result.auxk > 0
    for parameter in ("encoder", "encoder_bias", "decoder"):
        moved = np.abs(step.weights()[parameter].numpy() - before[parameter])[20:].reshape(20, -1).max(axis=1)
        assert (moved > 5e-4).sum() >= 15, parameter
