"""Llamascopium, the library of Llama Scope 2: `config.json` and `sae_weights.safetensors`.

Tensors: `W_E` (d, n), `b_E` (n), `W_D` (n, d), `b_D` (d) with `use_decoder_bias`, and
`activation_function.log_jumprelu_threshold` (n) for JumpReLU. Pre-activations: x W_E + b_E. With
`sparsity_include_decoder_norm`, latents are selected by pre-activation times the norm of the decoder row; the norms are
folded in. TopK keeps the k largest, and those below 0 are 0 here; BatchTopK is read as TopK, its definition for a batch
of one row. `norm_activation` says what x is: "inference" the raw activation; "dataset-wise" the activation times
sqrt(d) / its average norm, which a tensor `dataset_average_activation_norm.HOOKPOINT` holds, and the output is divided
by the factor of its own hookpoint: these factors are folded in; "token-wise" a row scaled to norm sqrt(d).
"""

import dataclasses
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.sae.formats.untrusted import (
    boolean,
    check_sizes,
    one_of,
    positive_number,
    read_safetensors,
    read_settings,
    safetensors_shapes,
    tensor,
    whole_number,
)
from sae_stability.sae.weights import Weights, checked, fold_norms

_SETTINGS, _FILE = "config.json", "sae_weights.safetensors"
_ACTIVATIONS = {"topk": "topk", "batchtopk": "topk", "relu": "relu", "jumprelu": "jumprelu"}
_NORMS = ("inference", "dataset-wise", "token-wise")
_THRESHOLD = "activation_function.log_jumprelu_threshold"


def detect(path: Path) -> bool:
    """Whether the folder holds both files, and no `cfg.json`, which would make it one of SAELens."""
    return (path / _SETTINGS).is_file() and (path / _FILE).is_file() and not (path / "cfg.json").exists()


def read(path: Path) -> Weights:
    """The SAE in a folder.

    Raises:
        StudyError: a file is missing or damaged, tensors and settings disagree, or a setting is not known.
    """
    file, config = path / _FILE, path / _SETTINGS
    settings, tensors = read_settings(config, "d_model", "act_fn"), read_safetensors(file)
    one_of(settings.get("sae_type", "sae"), ("sae",), config, "sae_type")
    if boolean(settings.get("use_glu_encoder"), config, "use_glu_encoder"):
        raise StudyError(f"{config}: use_glu_encoder is true; SAEs with a second encoder matrix are not read")
    kind = one_of(settings["act_fn"], _ACTIVATIONS, config, "act_fn")
    norm = one_of(settings.get("norm_activation", "dataset-wise"), _NORMS, config, "norm_activation")
    encoder = tensor(tensors, "W_E", file).T
    biased = settings.get("use_decoder_bias", True)
    weights = Weights(
        encoder=encoder,
        decoder=tensor(tensors, "W_D", file),
        encoder_bias=tensor(tensors, "b_E", file),
        decoder_bias=tensor(tensors, "b_D", file) if biased else np.zeros(encoder.shape[1:], np.float32),
        activation=_ACTIVATIONS[kind],
        k=whole_number(settings.get("top_k"), config, "top_k") if _ACTIVATIONS[kind] == "topk" else None,
        threshold=np.exp(tensor(tensors, _THRESHOLD, file).astype(np.float32)) if kind == "jumprelu" else None,
        subtract_decoder_bias=False,
        input_norm="unit" if norm == "token-wise" else "none",
        origin={"hookpoint": settings["hook_point_in"]} if isinstance(settings.get("hook_point_in"), str) else {},
    )
    weights = checked(weights, file)
    check_sizes(settings, config, d_model=weights.d_model)
    if settings.get("sparsity_include_decoder_norm", True):
        weights = fold_norms(weights)
    return checked(_for_raw_activations(weights, settings, tensors, file) if norm == "dataset-wise" else weights, file)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the header of the weights."""
    return safetensors_shapes(path / _FILE).get("W_E", ())[::-1]


def _for_raw_activations(weights: Weights, settings: dict, tensors: dict, file: Path) -> Weights:
    """Weights with the factors of input and output folded in."""
    factors = []
    for side in ("hook_point_in", "hook_point_out"):
        name = f"dataset_average_activation_norm.{settings.get(side)}"
        norm = positive_number(float(tensor(tensors, name, file)), file, name)
        factors.append(np.float32(weights.d_model**0.5 / norm))
    scaled = {name: getattr(weights, name) / factors[1] for name in ("decoder", "decoder_bias")}
    return dataclasses.replace(weights, encoder=weights.encoder * factors[0], **scaled)
