"""Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors` (bfloat16).

Tensors: `encoder.weight` (n, d), `encoder.bias` (n), `decoder.weight` (d, n), `decoder.bias` (d). The weights expect
activations of mean norm sqrt(d): the input is scaled by sqrt(d) / norm_in, the output by norm_out / sqrt(d)
(`dataset_average_activation_norm`). These scales are folded in. The common JumpReLU threshold applies to raw
activations, so it is multiplied by the encoder's scale, as in SAELens' loader. With `sparsity_include_decoder_norm` the
threshold applies to the pre-activation times the decoder row's norm; the norms are folded in too.
"""

import dataclasses
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.sae.formats.untrusted import (
    one_of,
    positive_number,
    read_safetensors,
    read_settings,
    tensor,
    uniform_threshold,
    whole_number,
)
from sae_stability.sae.weights import Weights, checked, fold_norms

_SETTINGS = "hyperparams.json"
_FILE = Path("checkpoints", "final.safetensors")
_ACTIVATIONS = ("jumprelu", "topk", "relu")


def detect(path: Path) -> bool:
    """Whether the folder holds `hyperparams.json` and the checkpoint."""
    return (path / _SETTINGS).is_file() and (path / _FILE).is_file()


def read(path: Path) -> Weights:
    """The SAE in a folder.

    Raises:
        StudyError: a file is missing or damaged, tensors and settings disagree, or a setting is not known.
    """
    file, config = path / _FILE, path / _SETTINGS
    settings, tensors = read_settings(config, "d_model", "d_sae"), read_safetensors(file)
    activation = one_of(settings.get("act_fn", "jumprelu"), _ACTIVATIONS, config, "act_fn")
    if settings.get("use_glu_encoder"):
        raise StudyError(f"{config}: use_glu_encoder is true; SAEs with a second encoder matrix are not read")
    encoder = tensor(tensors, "encoder.weight", file)
    if encoder.shape != shape(path):
        raise StudyError(f"{file}: encoder.weight has shape {encoder.shape}, but {_SETTINGS} says {shape(path)}")
    bias = tensor(tensors, "encoder.bias", file)
    scale_in, scale_out = _scales(settings, config)
    weights = Weights(
        encoder=encoder * scale_in,
        decoder=tensor(tensors, "decoder.weight", file).T,
        encoder_bias=bias,
        decoder_bias=tensors.get("decoder.bias", np.zeros(encoder.shape[1:], np.float32)),
        activation=activation,
        k=whole_number(settings.get("top_k"), config, "top_k") if activation == "topk" else None,
        threshold=_threshold(settings, config, scale_in, bias) if activation == "jumprelu" else None,
        subtract_decoder_bias=False,
        input_norm="unit" if settings.get("norm_activation") == "token-wise" else "none",
        origin={"hookpoint": settings["hook_point_in"]} if isinstance(settings.get("hook_point_in"), str) else {},
    )
    weights = checked(weights, file)
    if settings.get("apply_decoder_bias_to_pre_encoder"):
        weights = dataclasses.replace(weights, encoder_bias=weights.encoder_bias - encoder @ weights.decoder_bias)
    if settings.get("sparsity_include_decoder_norm"):
        weights = fold_norms(weights)
    scaled = {name: getattr(weights, name) / np.float32(scale_out) for name in ("decoder", "decoder_bias")}
    return checked(dataclasses.replace(weights, **scaled), file)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the settings."""
    config = path / _SETTINGS
    settings = read_settings(config, "d_model", "d_sae")
    return whole_number(settings["d_sae"], config, "d_sae"), whole_number(settings["d_model"], config, "d_model")


def _threshold(settings: dict, config: Path, scale_in: float, bias: np.ndarray) -> np.ndarray:
    threshold = positive_number(settings.get("jump_relu_threshold"), config, "jump_relu_threshold")
    return uniform_threshold(threshold * scale_in, bias)


def _scales(settings: dict, config: Path) -> tuple[float, float]:
    """The factor for inputs of the encoder, and the divisor for outputs of the decoder."""
    norms = settings.get("dataset_average_activation_norm")
    if settings.get("norm_activation", "dataset-wise") != "dataset-wise":
        return 1.0, 1.0
    if not isinstance(norms, dict):
        raise StudyError(f"{config}: no dataset_average_activation_norm with in and out, which these weights need")
    size = whole_number(settings["d_model"], config, "d_model") ** 0.5
    scale_in, scale_out = (
        size / positive_number(norms.get(side), config, f"dataset_average_activation_norm.{side}")
        for side in ("in", "out")
    )
    return scale_in, scale_out
