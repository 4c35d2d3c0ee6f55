"""The project's own format: round trip, arrays without torch, and one-line errors for wrong files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.files import write_json
from sae_stability.sae.formats import own

CFG = {"architecture": "topk", "n_latents": 6, "d_model": 4, "k": 2}


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"encoder": (6, 4), "decoder": (6, 4), "encoder_bias": (6,), "decoder_bias": (4,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_saved_sae_is_read_back_and_encodes_as_defined(tensors, tmp_path) -> None:
    own.save(tmp_path, tensors, CFG)
    for name, value in sae.arrays(tmp_path).items():
        np.testing.assert_array_equal(value, tensors[name])
    loaded = sae.load(tmp_path)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    latents = loaded.encode(x)
    pre = (x - loaded.decoder_bias) @ loaded.encoder.T + loaded.encoder_bias
    assert ((latents > 0).sum(1) <= 2).all()
    torch.testing.assert_close(latents[latents > 0], pre[latents > 0])
    torch.testing.assert_close(latents.max(1).values, pre.max(1).values.clamp(min=0))
    torch.testing.assert_close(loaded.forward(x), latents @ loaded.decoder + loaded.decoder_bias)


def test_arrays_need_no_torch(tensors, tmp_path) -> None:
    own.save(tmp_path, tensors, CFG)
    library = Path(__file__).parents[3] / "workflow"
    code = (
        f"import sys; sys.path.insert(0, {str(library)!r})\nfrom sae_stability import sae\nfrom pathlib import Path\n"
        f"sae.arrays(Path({str(tmp_path)!r}))\nassert not {{'torch', 'numba', 'pandas'}} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def truncate(folder: Path) -> None:
    file = folder / "sae.safetensors"
    file.write_bytes(file.read_bytes()[:100])


FAULTS = {
    "truncated": (truncate, r"sae.safetensors: not readable as safetensors .*delete the folder and run again"),
    "not safetensors": (lambda f: (f / "sae.safetensors").write_bytes(b"PK"), "not readable as safetensors"),
    "no weights": (lambda f: (f / "sae.safetensors").unlink(), "sae.safetensors: no such file"),
    "no cfg": (lambda f: (f / "cfg.json").unlink(), "cfg.json: no such file"),
    "cfg of something else": (lambda f: write_json(f / "cfg.json", {"width": 4}), "no architecture, n_latents"),
    "cfg not JSON": (lambda f: (f / "cfg.json").write_text("{"), "cfg.json: not readable as JSON"),
    "shapes disagree": (
        lambda f: write_json(f / "cfg.json", CFG | {"d_model": 5}),
        r"encoder has shape \(6, 4\), but cfg.json says \(6, 5\)",
    ),
    "unknown architecture": (
        lambda f: write_json(f / "cfg.json", CFG | {"architecture": "magic"}),
        "architecture 'magic' is not known; allowed: .*topk",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_named(tensors, tmp_path, fault) -> None:
    own.save(tmp_path, tensors, CFG)
    spoil, message = FAULTS[fault]
    spoil(tmp_path)
    with pytest.raises(StudyError, match=message):
        sae.load(tmp_path)


def test_a_tensor_with_a_wrong_name_or_dtype_is_named(tensors, tmp_path) -> None:
    from safetensors.numpy import save_file

    own.save(tmp_path, tensors, CFG)
    renamed = tensors | {"W_dec": tensors["decoder"]}
    del renamed["decoder"]
    save_file(renamed, tmp_path / "sae.safetensors")
    with pytest.raises(StudyError, match=r"no tensor 'decoder', found .*W_dec"):
        sae.load(tmp_path)
    save_file(tensors | {"decoder": tensors["decoder"].astype(np.float16)}, tmp_path / "sae.safetensors")
    with pytest.raises(StudyError, match="decoder is float16, expected float32"):
        sae.load(tmp_path)
