"""Gemma Scope 2: `config.json` and `params.safetensors`: `w_enc` (d, n), `w_dec` (n, d), `b_enc`, `b_dec`, `threshold`.

JumpReLU on x itself, without subtracting b_dec; transcoders may add `affine_skip_connection` (d_in, d_out).
"""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.formats.untrusted import read_safetensors, read_settings, safetensors_shapes, tensor
from sae_stability.sae.weights import Weights, checked


def detect(path: Path) -> bool:
    """Whether the folder holds `params.safetensors`."""
    return (path / "params.safetensors").is_file()


def read(path: Path) -> Weights:
    """The SAE in a folder.

    Raises:
        StudyError: a file is missing or damaged, shapes disagree, or the SAE is a cross-layer transcoder.
    """
    file, config = path / "params.safetensors", path / "config.json"
    settings = read_settings(config) if config.is_file() else {}
    architecture = settings.get("architecture", "jump_relu")
    if architecture != "jump_relu":
        raise StudyError(f"{config}: architecture {architecture!r} is not known; allowed: jump_relu")
    tensors = read_safetensors(file)
    skip = tensors.get("affine_skip_connection")
    names = {"model_name": "model", "hf_hook_point_in": "hookpoint"}
    weights = Weights(
        encoder=tensor(tensors, "w_enc", file).T,
        decoder=tensor(tensors, "w_dec", file),
        encoder_bias=tensor(tensors, "b_enc", file),
        decoder_bias=tensor(tensors, "b_dec", file),
        threshold=tensor(tensors, "threshold", file),
        skip=None if skip is None else skip.T,
        activation="jumprelu",
        subtract_decoder_bias=False,
        origin={field: settings[key] for key, field in names.items() if isinstance(settings.get(key), str)},
    )
    return checked(weights, file)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the header."""
    file = path / "params.safetensors"
    found = safetensors_shapes(file)
    if len(found.get("w_enc", ())) != 2:
        raise StudyError(f"{file}: no matrix w_enc, found {', '.join(sorted(found)[:12])}")
    return found["w_enc"][::-1]
