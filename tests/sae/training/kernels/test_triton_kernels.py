"""Triton kernels, run in Triton's interpreter, against plain torch; the Triton step against the torch step."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.training.history import PendingSteps
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.kernels import triton_topk
from sae_stability.sae.training.kernels.cuda_graph import GraphedFunction
from sae_stability.sae.training.kernels.torch_ops import Operations
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps import architecture, topk_triton
from sae_stability.sae.training.steps.topk_torch import TorchTopKStep
from tests.sae.training.kernels import triton_reference as reference
from tests.sae.training.steps.dense import DenseTopK
from tests.sae.training.steps.device_stand_in import CPU, OnDevice, device_stand_in

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed (it exists for Linux alone)", allow_module_level=True)

from sae_stability.sae.training.kernels import triton_sparse as kernels
from sae_stability.sae.training.kernels import triton_update
from sae_stability.sae.training.kernels.triton_ops import TritonOperations
from sae_stability.sae.training.kernels.triton_topk import largest
from sae_stability.sae.training.kernels.triton_update import LatentTensors, update_latents
from sae_stability.sae.training.steps.topk_triton import TritonTopKStep

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8}


@pytest.fixture(scope="module", autouse=True)
def interpreter():
    """Triton's interpreter, patched in two respects (version 3.7.1).

    The original prepares Triton's language again for each function that a kernel calls, which takes most of its time.
    It also truncates float32 to bfloat16, where a GPU and torch round to nearest.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    truncated = interpreter.InterpreterBuilder.create_fp_trunc

    def rounded(self, value, dtype):
        if dtype.scalar != tl.bfloat16:
            return truncated(self, value, dtype)
        bits = torch.from_numpy(np.ascontiguousarray(value.data)).to(torch.bfloat16).view(torch.int16)
        return interpreter.TensorHandle(bits.numpy().view(np.uint16), dtype.scalar)

    interpreter._patch_lang(tl.sum.fn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpretedFunction, "__call__", lambda self, *a, **k: self.rewrite()(*a, **k))
        patch.setattr(interpreter.InterpreterBuilder, "create_fp_trunc", rounded)
        yield


@DTYPES
@pytest.mark.parametrize(("n_latents", "k"), [(100, 7), (300, 32), (20, 20), (5, 2), (1, 1)])
def test_largest_prefers_the_lower_latent_in_ties(n_latents, k, dtype):
    pre, bias = reference.scores(5, n_latents, dtype)
    index, value = torch.empty((5, k), dtype=torch.int32), torch.empty((5, k))
    largest(pre, bias, k, index, value)
    expected_index, expected_value = reference.largest(pre, bias, k)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(value, expected_value, rtol=0, atol=0, equal_nan=True)


@DTYPES
@pytest.mark.parametrize(("d_model", "n_latents", "k"), [(384, 100, 7), (24, 40, 40), (1, 2, 1)])
def test_decode_gives_error_gradient_and_loss(d_model, n_latents, k, dtype):
    arguments = reference.batch(4, n_latents, d_model, k, dtype)
    error, gradient, loss = kernels.decode(*arguments)
    expected_error, expected_gradient, expected_loss = reference.decode(*arguments)
    assert error.dtype == dtype
    torch.testing.assert_close(error.double(), expected_error, rtol=ROUNDING[dtype], atol=1e-5)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.double(), expected_loss, rtol=1e-5, atol=1e-5)


@DTYPES
@pytest.mark.parametrize(("rows", "d_model"), [(1, 3), (70, 20), (200, 1)])
def test_prepare_normalises_and_sums_the_variance(rows, d_model, dtype):
    random = torch.Generator().manual_seed(4)
    batch = torch.randn(rows, d_model, generator=random) * 2 + 100
    batch[0] *= 50  # the mean is far from most rows
    mean, bias = torch.randn(2, d_model, generator=random)
    inputs, copy, variance = kernels.prepare(batch, mean, 0.37, bias, dtype)
    expected = (batch.double() - mean) * 0.37 - bias
    torch.testing.assert_close(inputs.double(), expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(copy, inputs.to(dtype))
    spread = (expected - expected.mean(0)).square().sum()
    torch.testing.assert_close(variance, spread, rtol=1e-5, atol=1e-9)


@DTYPES
@pytest.mark.parametrize("rows", [6, 300], ids=["no whole span", "spans of one latent"])
def test_update_sums_each_latent_and_takes_an_adam_step(rows, dtype):
    lists, error, inputs, scale, silent, *moments, factors, n_main = reference.entries(rows, 19, 20, 3, dtype)
    expected = reference.update_latents(lists, error, inputs, scale, silent, *moments, factors, n_main)
    copies = [moments[0][name].to(dtype) for name in ("encoder", "decoder")]
    of = [LatentTensors(**tensors) for tensors in moments]
    parts = update_latents(*lists, error, inputs, scale, silent, *of, copies, torch.tensor(factors), n_main)
    for got, wanted in zip(moments, expected[:3], strict=True):
        for name, value in wanted.items():
            torch.testing.assert_close(got[name].double(), value, rtol=1e-4, atol=1e-5)
    assert torch.equal(silent, expected[3])
    torch.testing.assert_close(parts.sum(0).double(), expected[4], rtol=1e-4, atol=1e-4)
    for copy, parameter in zip(copies, of[0][:2], strict=True):
        assert torch.equal(copy, parameter.to(dtype))


@pytest.mark.parametrize("shifted", [False, True])
def test_operations_equal_those_of_torch(shifted):
    random = torch.Generator().manual_seed(3)
    pre, error, decoder, *moments = (
        torch.randn(shape, generator=random) for shape in ((6, 30), (18, 20), *[(30, 20)] * 4)
    )
    theirs, ours = Operations(torch.device("cpu")), TritonOperations(torch.device("cpu"))
    entries = theirs.above(pre, torch.full((30,), 2.0))
    shifts = 6 * torch.arange(30).remainder(3) if shifted else None
    expected = theirs.dots(entries, error, decoder, shifts)
    torch.testing.assert_close(ours.dots(entries, error, decoder, shifts), expected)
    first, second, gradient = moments[0], moments[1].square(), moments[2].T.contiguous().T
    both = [[t.clone() for t in (decoder, gradient, first, second)] for _ in range(2)]
    for operations, (weight, *rest) in zip((theirs, ours), both, strict=True):
        operations.adam(weight, *rest, 1e-2, 1.5)
        operations.adam(weight, *rest, 2e-3, 1.2)
    for expected, got in zip(*both, strict=True):
        torch.testing.assert_close(got, expected)


def start(n_latents, d_model, k, batch, auxk_alpha=0.0):
    settings = TrainSettings(
        n_latents=n_latents,
        k=k,
        tokens=batch * 100,
        chunk_tokens=batch * 100,
        batch_size=batch,
        auxk_alpha=auxk_alpha,
        dead_tokens=2 * batch - 1,
        learning_rate=1e-3,
    )
    random = np.random.default_rng(1)
    weights = initial_weights(n_latents, d_model, 0, "here")
    weights["encoder_bias"] = (random.normal(size=n_latents) * 0.1).astype(np.float32)
    weights["decoder_bias"] = (random.normal(size=d_model) * 0.1).astype(np.float32)
    normalisation = Normalisation(random.normal(size=d_model).astype(np.float32), 1.7)
    batches = torch.from_numpy((random.normal(size=(4, batch, d_model)) * 2 + 1).astype(np.float32))
    return weights, settings, normalisation, batches


@pytest.mark.parametrize("auxk_alpha", [0.0, 1 / 32])
def test_the_step_equals_the_torch_step(auxk_alpha, monkeypatch):
    monkeypatch.setattr(topk_triton, "TILE_BYTES", 5 * 20 * 4)  # the batch needs two tiles; the second is partial
    weights, settings, normalisation, batches = start(20, 8, 3, 8, auxk_alpha)
    theirs, ours = (c(weights, settings, normalisation, torch.device("cpu")) for c in (TorchTopKStep, TritonTopKStep))
    saw_auxk = False
    for i, batch in enumerate(batches if auxk_alpha else batches[:2]):  # no latent is dead before the third batch
        expected, result = theirs.step(batch, 1e-2 / (i + 1)), ours.step(batch, 1e-2 / (i + 1))
        np.testing.assert_allclose([float(r) for r in result], expected, rtol=1e-5)
        assert torch.equal(ours.silent, theirs.silent)
        for name, value in theirs.weights().items():
            torch.testing.assert_close(ours.weights()[name], value, rtol=1e-4, atol=1e-6)
        saw_auxk |= expected.auxk > 0
    assert saw_auxk == (auxk_alpha > 0)


def test_gradients_equal_dense_autograd():
    weights, settings, normalisation, batches = start(12, 9, 4, 8)
    dense, ours = DenseTopK(weights, settings, normalisation), TritonTopKStep(weights, settings, normalisation, "cpu")
    dense.step(batches[0], 1e-3)
    ours.step(batches[0], 1e-3)
    for name, gradient in dense.gradients.items():
        # After the first step, Adam's first moment is a tenth of the gradient.
        torch.testing.assert_close(ours.first[name].double() * 10, gradient, rtol=1e-4, atol=1e-7)


def test_bfloat16_follows_float32_and_resumes_to_the_same_bits():
    weights, settings, normalisation, batches = start(12, 9, 4, 8)
    low = replace(settings, product_dtype="bfloat16")
    exact, ours, resumed = (TritonTopKStep(weights, s, normalisation, "cpu") for s in (settings, low, low))
    for i, batch in enumerate(batches[:2]):
        fvu = float(exact.step(batch, 1e-3).fvu)
        assert float(ours.step(batch, 1e-3).fvu) == pytest.approx(fvu, rel=0.01)
        if i == 0:
            resumed.load_state(ours.state())
    resumed.step(batches[1], 1e-3)
    for name, value in ours.state().items():
        assert torch.equal(resumed.state()[name], value), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_a_state_keeps_the_addresses_that_a_captured_step_reads(dtype):
    weights, settings, normalisation, batches = start(12, 9, 4, 8)
    step = TritonTopKStep(weights, replace(settings, product_dtype=dtype), normalisation, "cpu")
    held = {"silent": step.silent, "factors": step.factors}
    for name in ("parameters", "first", "second", "copies"):
        held |= {f"{name} {key}": tensor for key, tensor in getattr(step, name).items()}
    places = {name: tensor.data_ptr() for name, tensor in held.items()}
    state = step.state()
    step.step(batches[0], 1e-3)
    step.load_state(state)
    step.step(batches[1], 1e-3)
    now = {"silent": step.silent, "factors": step.factors}
    for name in ("parameters", "first", "second", "copies"):
        now |= {f"{name} {key}": tensor for key, tensor in getattr(step, name).items()}
    assert {name: tensor.data_ptr() for name, tensor in now.items()} == places


@pytest.fixture
def device(monkeypatch):
    """A stand-in for a device: its kernels refuse tensors on the CPU, and steps are never captured."""

    def launched(kernel, grid):
        def launch(*arguments, **sizes):
            assert len({value.device for value in arguments if isinstance(value, torch.Tensor)}) == 1
            held = [value.held if isinstance(value, OnDevice) else value for value in arguments]
            with (
                _disable_current_modes(),
                torch._C.DisableTorchFunction(),
            ):  # hooks are slow
                return kernel.run(*held, grid=grid, warmup=False, **sizes)

        return launch

    monkeypatch.setattr(type(kernels._decode), "__getitem__", launched)
    monkeypatch.setattr(GraphedFunction, "__call__", lambda self, function, x: function(x))
    with device_stand_in() as device:
        yield device


@pytest.mark.parametrize("name", REGISTRY)
def test_triton_steps_on_a_device_give_the_same_bits_as_on_the_cpu(device, name):
    alpha = 1 / 32 if "auxk_alpha" in REGISTRY[name].settings else 0.0
    weights, settings, normalisation, batches = start(20, 8, 3, 8, alpha)
    settings = replace(settings, architecture=name)
    there = architecture(name).make_step(weights, settings, normalisation, device, None)
    here = type(there)(weights, settings, normalisation, CPU if name == "topk" else TritonOperations(CPU))
    for step in (here, there):
        step.silent[::2] = settings.dead_tokens  # most of these are dead after the first step
    expected, pending, batches = [], PendingSteps(), batches[:2]
    for i, batch in enumerate(batches):
        expected.append(tuple(float(value) for value in here.step(batch, 1e-2)))
        pending.add(i, batch.to(device), there.step(batch.to(device), 1e-2))
    taken = list(pending.collect(now=True))
    assert [result for _, _, result in taken] == expected
    assert all(torch.equal(ends.cpu(), batch[[0, -1]]) for (_, ends, _), batch in zip(taken, batches, strict=True))
    assert bool(expected[-1][1]) == bool(alpha)
    for state, value in here.state().items():
        assert torch.equal(there.state()[state], value), state


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_loss_that_is_not_finite_overwrites_nothing():
    weights, settings, normalisation, batches = start(12, 9, 4, 8)
    step = TritonTopKStep(weights, settings, normalisation, "cpu")
    step.step(batches[0], 1e-3)
    before = step.state()
    batches[1, 3, 2] = torch.inf
    assert not np.isfinite(float(step.step(batches[1], 1e-3).fvu))
    for name, value in step.state().items():
        assert name == "steps" or torch.equal(value, before[name]), name


def test_every_kernel_compiles_for_an_h100(tmp_path):
    """The compiler may refuse what the interpreter accepts. It needs no GPU."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[4] / "workflow"), *sys.path])
    program = [sys.executable, str(Path(__file__).with_name("triton_compiled.py"))]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    compiled, everything = done.stdout.split(), {}
    for module in (kernels, triton_topk, triton_update):
        everything |= vars(module)
    assert set(compiled) == {name for name, value in everything.items() if _is_kernel(name, value)}


def _is_kernel(name, value):
    helpers = ("_keys", "_larger", "_keep_largest", "_sums", "_latent_sums", "adam_step")
    return hasattr(value, "arg_names") and name not in helpers
