"""No tensor is left on the CPU: training, evaluation and use of every architecture on a stand-in for a device.

CPU and device use the same torch operations, so every bit must be equal.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.activations import reader
from sae_stability.files import read_json
from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.model import SAE
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.training import resampling
from sae_stability.sae.training.initial_weights import initial_weights
from sae_stability.sae.training.kernels import cpu_ops, torch_ops
from sae_stability.sae.training.kernels.torch_ops import Operations
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps import architecture, topk, topk_cpu, variable_l0
from sae_stability.sae.training.steps.topk_torch import TorchTopKStep
from sae_stability.sae.weights import ACTIVATIONS, INPUT_NORMS, OPTIONAL, Weights
from tests.sae.training.steps.device_stand_in import CPU, OnDevice, device_stand_in

ROWS, WIDTH, LATENTS, STEPS = 64, 16, 64, 20
DEAD = [3, 17, 40]
AUXK = [name for name, entry in REGISTRY.items() if "auxk_alpha" in entry.settings]
CASES = [(name, 0.0, dense) for name in REGISTRY for dense in (False, True)]
CASES += [(name, 1 / 32, False) for name in AUXK]
OWN = {"jumprelu": {"bandwidth": 0.1}, "matryoshka": {"groups": 3}}


@pytest.fixture(autouse=True)
def torch_operations(monkeypatch) -> None:
    """Use plain torch operations on both devices, as without Triton."""
    monkeypatch.setattr(cpu_ops, "CpuOperations", lambda workers: Operations(CPU))
    monkeypatch.setattr(topk_cpu, "CpuTopKStep", lambda *arguments: TorchTopKStep(*arguments[:3], CPU))
    for module in (variable_l0, topk):
        monkeypatch.setattr(module, "find_spec", lambda name: None)


@pytest.fixture
def device():
    with device_stand_in() as device:
        yield device


def test_the_stand_in_refuses_what_cuda_refuses(device) -> None:
    here, there, square = torch.ones(3), torch.ones(3, device=device), torch.eye(3, device=device)
    names, places = torch.arange(3), torch.arange(3, device=device)
    for work in (
        lambda: here + there,
        lambda: there.mul_(here),
        lambda: torch.ones(()).add_(there[0]),
        lambda: square @ here,
        lambda: torch.mm(square, square, out=torch.empty(3, 3)),
        lambda: torch.cat([there, here]),
        lambda: torch.stack([there[0], torch.tensor(1.0)]),
        lambda: torch.where(there > 0, there, here),
        lambda: here[places],
        lambda: here.index_put_((names,), there),
        lambda: there.index_put_((places,), here),
        lambda: there.index_select(0, names),
        lambda: there.scatter_(0, names, there),
        lambda: torch.searchsorted(there, here),
        lambda: torch.nn.functional.embedding_bag(places, square, names * 0, mode="sum"),
        lambda: torch.equal(here, there),
    ):
        with pytest.raises(RuntimeError, match="found at least two devices, cuda:0 and cpu!"):
            work()
    for work in (there.numpy, lambda: np.asarray(there), lambda: np.add(there, 1)):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            work()
    for work in (there.data_ptr, lambda: torch.utils.dlpack.to_dlpack(there)):
        with pytest.raises((RuntimeError, BufferError)):
            work()


def test_the_stand_in_accepts_what_cuda_accepts_and_reports_the_device(device) -> None:
    here, there = torch.arange(3.0), torch.arange(3.0, device=device)
    names, two = torch.arange(3), torch.tensor(2.0)
    for made in (
        here.to(device),
        here.to("cuda:0"),
        here.to(there),
        torch.tensor([0.0, 1, 2], device=device),
        torch.tensor(np.arange(3), dtype=torch.float32, device=device),
        torch.empty_like(here, device=device).copy_(here),
        there[names],
        there[names > -1],
        there * two / two,
        two * there - there,
        torch.zeros_like(there).index_put_((names,), there),
        there.masked_fill(there < 0, two),
        torch.stack(list(there)),
        there.to(torch.float64).float(),
    ):
        assert type(made) is OnDevice
        assert made.device == torch.device("cuda:0") == there.device
        assert made.is_cuda
        assert made.tolist() == [0, 1, 2]
    for back in (there.cpu(), there.to("cpu"), there.to(here), torch.empty(3).copy_(there), here + 0):
        assert type(back) is torch.Tensor
        assert back.tolist() == here.tolist()
    assert there.numpy(force=True).tolist() == [0, 1, 2]
    assert (float(there[1]), int(there[2]), bool((there > 1).any()), there.sum().item()) == (1.0, 2, True, 3.0)


def test_a_view_on_the_stand_in_is_a_view_and_a_copy_is_a_copy(device) -> None:
    here = torch.zeros(2, 3)
    there = here.to(device)
    there[0] += 1
    there.view(-1)[5:] = 2
    torch.cumsum(there[0], 0, out=there[0])
    away = there.cpu()
    there.zero_()
    assert away.tolist() == [[1, 2, 3], [0, 0, 2]]
    assert not here.any()


def settings_for(name: str, auxk_alpha: float = 0.0) -> TrainSettings:
    """Settings for twice as many steps as are taken, so that a Gated SAE resamples after 5, 10, 15 and 20 steps."""
    return TrainSettings(
        architecture=name,
        n_latents=LATENTS,
        k=3,
        tokens=ROWS * STEPS * 2,
        chunk_tokens=ROWS * STEPS * 2,
        batch_size=ROWS,
        auxk_alpha=auxk_alpha,
        dead_tokens=ROWS * 2,
        warmup_steps=2,
        **OWN.get(name, {}),
    )


def batches() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(ROWS, WIDTH, generator=random) * 2 + 1 for _ in range(STEPS)]


def start(settings: TrainSettings, device: str):
    """An SAE before its first step, with some latents that cannot fire."""
    weights = initial_weights(LATENTS, WIDTH, 0, "here")
    weights |= {"decoder_bias": np.full(WIDTH, 0.1, np.float32)}
    weights["encoder_bias"][DEAD] = -100
    normalisation = Normalisation(np.ones(WIDTH, np.float32), 1.7)
    make_step = architecture(settings.architecture).make_step
    return make_step(weights, settings, normalisation, torch.device(device), None)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether tensors on the CPU have the same names and bits."""
    assert all(type(value) is torch.Tensor for value in (*a.values(), *b.values()))
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize(("name", "auxk_alpha", "dense"), CASES)
def test_steps_on_a_device_give_the_same_bits_as_on_the_cpu(device, monkeypatch, name, auxk_alpha, dense) -> None:
    monkeypatch.setattr(torch_ops, "DENSE_FROM", 0 if dense else 2)
    drawn, draw = [], resampling.draw_inputs
    monkeypatch.setattr(resampling, "draw_inputs", lambda *arguments: drawn.append(draw(*arguments)) or drawn[-1])
    settings = settings_for(name, auxk_alpha)
    here, there = start(settings, "cpu"), start(settings, "cuda")
    assert type(here) is type(there)
    assert all(type(value) is OnDevice for value in (*there.parameters.values(), *there.first.values(), there.silent))
    auxk = 0.0
    for step, batch in enumerate(batches()):
        expected = here.step(batch, settings.rate(step))
        assert there.step(batch.to(device), settings.rate(step)) == expected
        auxk += expected.auxk
    assert equal(there.state(), here.state())
    assert equal(there.weights(), here.weights())
    assert bool(auxk) == bool(auxk_alpha)
    assert bool(drawn) == (name == "gated")


@pytest.mark.parametrize("name", REGISTRY)
def test_a_state_can_be_loaded_on_another_device(device, name) -> None:
    settings = settings_for(name)
    whole, some_batches = start(settings, "cuda"), batches()[:8]
    for step, batch in enumerate(some_batches):
        if step == 4:
            state = whole.state()
        whole.step(batch.to(device), settings.rate(step))
    for other in ("cuda", "cpu"):
        resumed = start(settings, other)
        resumed.load_state(state)
        assert equal(resumed.state(), state)
        for step, batch in enumerate(some_batches[4:], start=4):
            resumed.step(batch.to(other), settings.rate(step))
        assert equal(resumed.state(), whole.state())


@pytest.fixture
def moved(monkeypatch) -> list[OnDevice]:
    """The tensors read ahead for the device. The reader's threads do not see the stand-in, so `_moved` is replaced."""
    moved = []

    def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        if device.type == "cpu":
            return tensor
        moved.append(OnDevice(tensor.clone()))
        return moved[-1]

    monkeypatch.setattr(reader, "_moved", move)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 30, 1 << 30))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"current stream of {device}")
    return moved


def test_batches_are_on_the_device_and_shards_are_kept_for_the_stream_that_uses_them(planted, device, moved) -> None:
    order = {"batch_size": 300, "epochs": 2, "order_seed": 1}
    for here, there in zip(
        reader.batches(planted.chunks[0], **order),
        reader.batches(planted.chunks[0], **order, device=device),
        strict=True,
    ):
        assert type(there) is OnDevice
        assert torch.equal(there.cpu(), here)
    assert [tensor.streams for tensor in moved] == [["current stream of cuda:0"]] * 12  # 6 shards


FILES = ("sae.safetensors", "cfg.json", "metrics.json", "history.parquet")


@pytest.mark.parametrize("name", REGISTRY)
def test_training_and_evaluation_on_a_device_give_the_same_files_as_on_the_cpu(
    planted, train, tmp_path, device, moved, name
) -> None:
    settings = replace(settings_for(name), tokens=2 * 5 * ROWS, chunk_tokens=5 * ROWS, normalisation="centre-scale")
    checkpoint = {"checkpoint": tmp_path / "checkpoint", "checkpoint_seconds": 0.0}
    outs = {
        "cpu": train("cpu", settings, **checkpoint),
        "cuda": train("cuda", settings, **checkpoint, device="cuda"),
    }
    assert all((outs["cpu"] / name).read_bytes() == (outs["cuda"] / name).read_bytes() for name in FILES)
    for on, out in outs.items():
        files = {"out_json": [tmp_path / f"{on}.json"], "out_parquet": [tmp_path / f"{on}.parquet"]}
        evaluate(sae=[out], chunk=planted.heldout, **files, device=on)
    assert read_json(tmp_path / "cuda.json") == read_json(tmp_path / "cpu.json")
    assert (tmp_path / "cuda.parquet").read_bytes() == (tmp_path / "cpu.parquet").read_bytes()
    x = next(reader.rows(planted.heldout))[0][:50]
    there = sae.load(outs["cuda"], device="cuda").forward(x.to(device))
    assert type(there) is OnDevice
    assert torch.equal(there.cpu(), sae.load(outs["cpu"]).forward(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_imported_sae_on_a_device_gives_the_same_bits(device, activation) -> None:
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    shapes = {"n": (LATENTS,), "dd": (WIDTH, WIDTH)}
    tensors = {name: drawn(LATENTS, WIDTH) for name in ("encoder", "decoder")}
    tensors |= {"encoder_bias": drawn(LATENTS), "decoder_bias": drawn(WIDTH)}
    tensors |= {name: drawn(*shapes[shape]) for name, shape in OPTIONAL.items()}
    x = torch.from_numpy(drawn(50, WIDTH))
    for input_norm in INPUT_NORMS:
        weights = Weights(**tensors, activation=activation, k=4, input_norm=input_norm)
        there = SAE(weights, device=device).forward(x.to(device))
        assert type(there) is OnDevice
        assert torch.equal(there.cpu(), SAE(weights).forward(x))
