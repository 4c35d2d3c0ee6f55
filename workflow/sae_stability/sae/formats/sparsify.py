"""sparsify (EleutherAI, `eai-sparsify`): `<hookpoint>/cfg.json` and `sae.safetensors`.

Tensors: `encoder.weight` (n, d), `encoder.bias` (n), `W_dec` (n, d), `b_dec` (d), sometimes `W_skip` (d, d).
latents = topk(relu((x - b_dec) encoder^T + bias)); a transcoder (`transcode`) does not subtract b_dec. `num_latents: 0`
means d_in * expansion_factor. Files of 2024 may have `signed: true`: select by absolute value, keep the signs.
"""

from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.files import atomic, write_plain_json
from sae_stability.sae.formats.untrusted import (
    boolean,
    one_of,
    read_safetensors,
    read_settings,
    safetensors_shapes,
    tensor,
    whole_number,
)
from sae_stability.sae.weights import Weights, checked

_ACTIVATIONS = ("topk", "groupmax")


def detect(path: Path) -> bool:
    """Whether the folder holds one sparse coder: settings with `d_in` but no `architecture`."""
    if not (path / "sae.safetensors").is_file() or not (path / "cfg.json").is_file():
        return False
    settings = read_settings(path / "cfg.json")
    return "d_in" in settings and "architecture" not in settings


def read(path: Path) -> Weights:
    """The sparse coder in a folder.

    Raises:
        StudyError: a file is missing or damaged, tensors and settings disagree, or the activation is not known.
    """
    file = path / "sae.safetensors"
    settings, tensors = read_settings(path / "cfg.json", "d_in", "k"), read_safetensors(file)
    encoder = tensor(tensors, "encoder.weight", file)
    sizes = _sizes(path)
    if encoder.shape != sizes:
        raise StudyError(f"{file}: encoder.weight has shape {encoder.shape}, but cfg.json says {sizes}")
    activation = one_of(settings.get("activation", "topk"), _ACTIVATIONS, path / "cfg.json", "activation")
    weights = Weights(
        encoder=encoder,
        encoder_bias=tensor(tensors, "encoder.bias", file),
        decoder=tensor(tensors, "W_dec", file),
        decoder_bias=tensor(tensors, "b_dec", file),
        skip=tensors.get("W_skip"),
        activation="abstopk" if boolean(settings.get("signed", False), path / "cfg.json", "signed") else activation,
        k=whole_number(settings["k"], path / "cfg.json", "k"),
        subtract_decoder_bias=not boolean(settings.get("transcode", False), path / "cfg.json", "transcode"),
        origin={"hookpoint": path.parent.name if path.name.startswith("seed") else path.name},
    )
    return checked(weights, file)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the header."""
    return safetensors_shapes(path / "sae.safetensors").get("encoder.weight", _sizes(path))


def write(path: Path, weights: Weights) -> None:
    """Write a folder that `SparseCoder.load_from_disk` reads.

    Raises:
        StudyError: the SAE is not a TopK or groupmax SAE on raw activations; sparsify has no others.
    """
    from safetensors.numpy import save_file

    if weights.activation not in _ACTIVATIONS or weights.input_norm != "none":
        raise StudyError(
            f"{path}: sparsify has only TopK SAEs on raw activations, not {weights.activation} SAEs with input "
            f"normalisation {weights.input_norm!r}; write it as saelens"
        )
    names = {"encoder.weight": "encoder", "encoder.bias": "encoder_bias", "W_dec": "decoder", "b_dec": "decoder_bias"}
    tensors = {key: getattr(weights, field) for key, field in names.items()}
    if weights.skip is not None:
        tensors["W_skip"] = weights.skip
    norms = np.linalg.norm(weights.decoder, axis=1)
    settings = {
        "activation": weights.activation,
        "expansion_factor": max(1, weights.n_latents // weights.d_model),
        "normalize_decoder": bool(np.allclose(norms, 1, atol=1e-3)),
        "num_latents": weights.n_latents,
        "k": weights.k,
        "multi_topk": False,
        "skip_connection": weights.skip is not None,
        "transcode": not weights.subtract_decoder_bias,
        "d_in": weights.d_model,
    }
    with atomic(path / "sae.safetensors") as temporary:
        save_file(tensors, temporary)
    write_plain_json(path / "cfg.json", settings)


def _sizes(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the settings."""
    file = path / "cfg.json"
    settings = read_settings(file, "d_in")
    d_model = whole_number(settings["d_in"], file, "d_in")
    latents = whole_number(settings.get("num_latents") or 0, file, "num_latents")
    return latents or d_model * whole_number(settings.get("expansion_factor", 32), file, "expansion_factor"), d_model
