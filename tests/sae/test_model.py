"""The class `SAE`: each architecture equals its definition bit for bit, and saving and loading keeps every bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.sae import formats
from sae_stability.sae.formats import own

N_LATENTS, D_MODEL, K = 48, 24, 5


def topk(t, x):
    pre = torch.relu(torch.addmm(t["encoder_bias"], x - t["decoder_bias"], t["encoder"].T))
    best = pre.topk(K, dim=1, sorted=False)
    return torch.zeros_like(pre).scatter_(1, best.indices, best.values)


def relu(t, x):
    return torch.relu(torch.addmm(t["encoder_bias"], x - t["decoder_bias"], t["encoder"].T))


def threshold(t, x):
    pre = relu(t, x)
    return pre * (pre > t["threshold"])


def gated(t, x):
    product = (x - t["decoder_bias"]) @ t["encoder"].T
    magnitude = product * t["magnitude_scale"].exp() + t["magnitude_bias"]
    return torch.relu(magnitude) * (product + t["encoder_bias"] > 0)


ENCODE = {
    "topk": (topk, ()),
    "batchtopk": (threshold, ("threshold",)),
    "matryoshka": (threshold, ("threshold",)),
    "relu": (relu, ()),
    "gated": (gated, ("magnitude_scale", "magnitude_bias")),
    "jumprelu": (threshold, ("threshold",)),
}

# sparsify has TopK SAEs only; dictionary_learning has one threshold for all latents.
NOT_WRITTEN = [("sparsify", name) for name in ("relu", "gated", "jumprelu")] + [("dictionary_learning", "jumprelu")]


@pytest.fixture(params=ENCODE)
def saved(request, tmp_path):
    """A folder as training writes it, its tensors and its architecture."""
    random = np.random.default_rng(3)
    shapes = {"encoder": (N_LATENTS, D_MODEL), "decoder": (N_LATENTS, D_MODEL), "encoder_bias": (N_LATENTS,)}
    shapes |= {"decoder_bias": (D_MODEL,)} | dict.fromkeys(ENCODE[request.param][1], (N_LATENTS,))
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    if "threshold" in tensors:
        tensors["threshold"] = np.abs(tensors["threshold"])
    cfg = {"architecture": request.param, "n_latents": N_LATENTS, "d_model": D_MODEL, "k": K}
    cfg |= {"hookpoint": "layers.0.mlp", "init_seed": 7, "config_hash": "abc"}
    own.save(tmp_path / "sae", tensors, cfg)
    return tmp_path / "sae", {name: torch.from_numpy(value) for name, value in tensors.items()}, request.param


def test_an_architecture_equals_its_definition_bit_for_bit(saved):
    folder, tensors, name = saved
    loaded = sae.load(folder)
    x = torch.randn(33, D_MODEL, generator=torch.Generator().manual_seed(0))
    latents = ENCODE[name][0](tensors, x)
    output = torch.addmm(tensors["decoder_bias"], latents, tensors["decoder"])
    assert (latents != 0).any(1).all()
    assert torch.equal(loaded.encode(x), latents)
    for reconstruction in (loaded.decode(latents), loaded.reconstruct(latents, x), loaded.forward(x)):
        assert torch.equal(reconstruction, output)
    assert torch.equal(loaded.encode(x.double()), latents)


def test_saving_a_trained_sae_writes_the_same_files_as_training(saved, tmp_path):
    folder, _, _ = saved
    sae.save(tmp_path / "again", sae.load(folder))
    for name in ("sae.safetensors", "cfg.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("format", formats.WRITTEN)
def test_an_sae_saved_in_any_format_is_loaded_with_the_same_bits(saved, tmp_path, format):
    loaded = sae.load(saved[0])
    if (format, loaded.activation) in NOT_WRITTEN:
        with pytest.raises(StudyError, match="write it as saelens"):
            sae.save(tmp_path / "out", loaded, format)
        return
    sae.save(tmp_path / "out", loaded, format)
    again = sae.load(tmp_path / "out")
    x = torch.randn(33, D_MODEL, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.forward(x), loaded.forward(x))
    assert again.weights.tensors.keys() == loaded.weights.tensors.keys()
    for name, value in again.weights.tensors.items():
        np.testing.assert_array_equal(value, loaded.weights.tensors[name])


def test_saving_an_external_sae_keeps_its_settings_and_origin(saved, tmp_path):
    sae.save(tmp_path / "theirs", sae.load(saved[0]), "saelens")
    external = sae.load(tmp_path / "theirs")
    assert not external.trained_here
    sae.save(tmp_path / "own", external)
    again = sae.load(tmp_path / "own")
    assert again.cfg == external.cfg
    assert again.cfg["format"] == "saelens"
    assert own.read_cfg(tmp_path / "own")["architecture"] == "imported"


def test_saving_never_damages_another_format(saved, tmp_path):
    loaded = sae.load(saved[0])
    sae.save(tmp_path / "out", loaded, "saelens")
    with pytest.raises(StudyError, match="holds an SAE of the format saelens, which an SAE of the format own would"):
        sae.save(tmp_path / "out", loaded)
    sae.save(tmp_path / "out", loaded, "saelens")
    with pytest.raises(StudyError, match="format 'gemma_scope' is not written; allowed: own"):
        sae.save(tmp_path / "new", loaded, "gemma_scope")
    assert not (tmp_path / "new").exists()


def test_numpy_rows_are_taken_too(saved):
    loaded = sae.load(saved[0])
    assert (loaded.n_latents, loaded.d_model) == (N_LATENTS, D_MODEL)
    x = torch.randn(5, D_MODEL, generator=torch.Generator().manual_seed(0))
    latents = loaded.encode(x.numpy())
    assert torch.equal(latents, loaded.encode(x))
    assert torch.equal(loaded.reconstruct(latents.numpy(), x.double().numpy()), loaded.forward(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda it: it.encode(torch.ones(D_MODEL)), rf"x: shape \({D_MODEL},\) given; must be \(rows, {D_MODEL}\)"),
        (lambda it: it.encode(np.ones((2, D_MODEL + 1))), rf"x: shape \(2, {D_MODEL + 1}\) given"),
        (lambda it: it.encode([[1.0] * D_MODEL]), "x: list given; give a torch tensor or numpy array"),
        (lambda it: it.encode(np.full((2, D_MODEL), "a")), "x: holds <U1 values; must be real numbers"),
        (lambda it: it.encode(torch.ones(2, D_MODEL) * 1j), "x: torch.complex64 given"),
        (lambda it: it.decode(torch.ones(2, 1)), rf"latents: shape \(2, 1\) given; must be \(rows, {N_LATENTS}\)"),
        (lambda it: it.reconstruct(torch.ones(1, N_LATENTS), torch.ones(2, D_MODEL)), "latents has 1 rows, x has 2"),
        (lambda it: sae.load("gone", device="tpu"), "device: 'tpu' cannot be used here"),
        (lambda it: sae.load("gone", format="zz"), "format 'zz' is not known; allowed: own"),
    ],
)
def test_a_mistake_is_one_line(saved, call, message):
    with pytest.raises(StudyError, match=message) as error:
        call(sae.load(saved[0]))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused(saved):
    with pytest.raises(StudyError, match="device: 'cuda' cannot be used here"):
        sae.load(saved[0], device="cuda")


def test_only_an_sae_is_saved(saved, tmp_path):
    with pytest.raises(TypeError, match="save: the second argument is int; give a folder, then an SAE"):
        sae.save(tmp_path / "out", 3)
    with pytest.raises(TypeError, match="the second argument is PosixPath"):
        sae.save(sae.load(saved[0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reading_an_sae_imports_no_training_module():
    library = Path(__file__).parents[2] / "workflow"
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r})\n"
        "import sae_stability.sae.model, sae_stability.sae.convert\n"
        "for name in sae_stability.sae.formats.FORMATS: sae_stability.sae.formats._module(name)\n"
        "print([name for name in sys.modules if name.startswith('sae_stability.sae.training')])"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
