"""SAELens: `cfg.json` and `sae_weights.safetensors`.

Tensors: `W_enc` (d, n), `W_dec` (n, d), `b_enc` (n), `b_dec` (d); `threshold` (n) of JumpReLU; `b_gate`, `b_mag`,
`r_mag` (n) of gated; `W_skip` (d, d) of skip transcoders. Settings before version 6 are converted by SAELens' own rules
(`handle_pre_6_0_config`). SAELens folds an input scale (`expected_average_only_in`) or a whitening into the weights
when it saves. If the settings still name one, it is ignored, here as in SAELens.
"""

import dataclasses
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.files import atomic, write_plain_json
from sae_stability.sae.formats.untrusted import (
    boolean,
    check_sizes,
    one_of,
    read_safetensors,
    read_settings,
    safetensors_shapes,
    tensor,
    uniform_threshold,
)
from sae_stability.sae.weights import Weights, checked, fold_norms

FILE = "sae_weights.safetensors"
# The version stated in written settings. SAELens would convert settings of versions below 6.
_VERSION = "6.0.0"
_ACTIVATIONS = {
    "standard": "relu",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "topk": "topk",
    "abstopk": "abstopk",
    "gated": "gated",
    "jumprelu": "jumprelu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
}
_TRAINING_ONLY = ("batchtopk", "matryoshka_batchtopk")
_NORMS = {
    "none": "none",
    "expected_average_only_in": "none",
    "covariance_whitening": "none",
    "layer_norm": "layer",
    "constant_norm_rescale": "unit",
}
_WRITTEN_NORMS = {"none": "none", "layer": "layer_norm", "unit": "constant_norm_rescale"}
_RENAMED = {"hook_point": "hook_name", "activation_fn_str": "activation_fn"}


def detect(path: Path) -> bool:
    """Whether the folder holds SAELens' two files."""
    return (path / FILE).is_file() and (path / "cfg.json").is_file()


def read(path: Path) -> Weights:
    """The SAE in a folder: an inference or a training checkpoint. BatchTopK is read for inference, with its threshold.

    Raises:
        StudyError: a file is missing or damaged, settings and tensors disagree, or a setting is not known.
    """
    file = path / FILE
    settings, tensors = _version_6_settings(path), read_safetensors(file)
    cfg = path / "cfg.json"
    architecture = one_of(settings.get("architecture"), _ACTIVATIONS, cfg, "architecture")
    norm = one_of(settings.get("normalize_activations", "none"), _NORMS, cfg, "normalize_activations")
    activation = _ACTIVATIONS[architecture]
    bias = tensor(tensors, "b_mag" if activation == "gated" else "b_enc", file)
    metadata = settings.get("metadata") if isinstance(settings.get("metadata"), dict) else {}
    subtract = settings.get("apply_b_dec_to_input", "transcoder" not in architecture)
    weights = Weights(
        encoder=tensor(tensors, "W_enc", file).T,
        decoder=tensor(tensors, "W_dec", file),
        encoder_bias=bias,
        decoder_bias=tensor(tensors, "b_dec", file),
        activation=activation,
        k=_k(settings.get("k", metadata.get("k"))),
        threshold=_threshold(tensors, bias) if activation == "jumprelu" else None,
        gate_bias=tensors.get("b_gate"),
        log_magnitude=tensors.get("r_mag"),
        skip=tensors.get("W_skip"),
        subtract_decoder_bias=boolean(subtract, cfg, "apply_b_dec_to_input"),
        input_norm=_NORMS[norm],
        origin=_origin(metadata),
    )
    weights = _with_scaling_factor(checked(weights, file), tensors, settings, file)
    check_sizes(settings, cfg, d_sae=weights.n_latents, d_in=weights.d_model)
    # By default, training checkpoints select by pre-activation times decoder norm, inference SAEs by pre-activation.
    if settings.get("rescale_acts_by_decoder_norm", architecture in _TRAINING_ONLY):
        weights = fold_norms(weights)
    return checked(weights, file)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the header."""
    found = safetensors_shapes(path / FILE)
    if len(found.get("W_enc", ())) != 2:
        raise StudyError(f"{path / FILE}: no matrix W_enc, found {', '.join(sorted(found)[:12])}")
    return found["W_enc"][::-1]


def write(path: Path, weights: Weights) -> None:
    """Write a folder that `SAE.load_from_disk` of SAELens 6 reads.

    Raises:
        StudyError: the SAE has a skip connection or is a groupmax SAE, which cannot be written in this format.
    """
    from safetensors.numpy import save_file

    architecture = {"relu": "standard"}.get(weights.activation, weights.activation)
    if architecture not in _ACTIVATIONS or weights.skip is not None:
        what = "skip connections" if weights.skip is not None else f"{weights.activation} SAEs"
        raise StudyError(f"{path}: the saelens format written here has no {what}; allowed: topk, relu, jumprelu, gated")
    tensors = {"W_enc": weights.encoder.T, "W_dec": weights.decoder, "b_dec": weights.decoder_bias}
    if weights.activation == "gated":
        tensors |= {"b_mag": weights.encoder_bias, "b_gate": weights.gate_bias, "r_mag": weights.log_magnitude}
    else:
        tensors["b_enc"] = weights.encoder_bias
    if weights.activation == "jumprelu":
        tensors["threshold"] = weights.threshold
    names = {"model": "model_name", "hookpoint": "hook_name"}
    metadata = {key: weights.origin[field] for field, key in names.items() if field in weights.origin}
    settings = {
        "architecture": architecture,
        "d_in": weights.d_model,
        "d_sae": weights.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": weights.subtract_decoder_bias,
        "normalize_activations": _WRITTEN_NORMS[weights.input_norm],
        "reshape_activations": "none",
        "metadata": metadata | {"sae_lens_version": _VERSION, "sae_lens_training_version": None},
    }
    if weights.activation in ("topk", "abstopk"):
        settings |= {"k": weights.k, "rescale_acts_by_decoder_norm": False}
    elif weights.k is not None:
        settings["metadata"]["k"] = weights.k  # SAELens keeps this value but does not use it
    with atomic(path / FILE) as temporary:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary)
    write_plain_json(path / "cfg.json", settings)


def _version_6_settings(path: Path) -> dict:
    """The settings in cfg.json, converted to those of version 6."""
    settings = read_settings(path / "cfg.json")
    metadata = settings.get("metadata") if isinstance(settings.get("metadata"), dict) else {}
    version = str(settings.get("sae_lens_version") or metadata.get("sae_lens_version") or "0")
    if version.split(".")[0].isdecimal() and int(version.split(".")[0]) >= 6:
        return settings
    old = {_RENAMED.get(key, key): value for key, value in settings.items()}
    function, arguments = old.get("activation_fn", "relu"), old.get("activation_fn_kwargs") or {}
    new = {"architecture": "standard", "apply_b_dec_to_input": True} | old
    if function == "topk" and isinstance(arguments, dict) and arguments.get("k") is not None:
        new |= {"architecture": "topk", "k": arguments["k"]}
    else:
        one_of(function, ("relu", "topk"), path / "cfg.json", "activation function")
    norm = old.get("normalize_activations")
    if norm is None or isinstance(norm, bool):
        new["normalize_activations"] = "expected_average_only_in" if norm else "none"
    return new | {"metadata": {key: old[key] for key in ("model_name", "hook_name") if key in old}}


def _k(value: object) -> object:
    """k as a whole number. BatchTopK's k may be an average such as 31.5; then None: inference needs no k."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value


def _threshold(tensors: dict, bias: np.ndarray) -> np.ndarray | None:
    if "topk_threshold" in tensors:
        return uniform_threshold(float(tensors["topk_threshold"]), bias)
    return np.exp(tensors["log_threshold"]) if "log_threshold" in tensors else tensors.get("threshold")


def _with_scaling_factor(weights: Weights, tensors: dict, settings: dict, file: Path) -> Weights:
    """Weights with the latents' scaling factor, which some SAEs before version 6 have, folded into the decoder."""
    factor = tensors.get("scaling_factor", tensors.get("finetuning_scaling_factor"))
    if factor is None or np.allclose(factor, 1):
        return weights
    if not settings.get("finetuning_scaling_factor") or factor.shape != weights.encoder_bias.shape:
        raise StudyError(f"{file}: has a scaling_factor of shape {factor.shape} that cfg.json does not declare")
    return dataclasses.replace(weights, decoder=weights.decoder * factor[:, None])


def _origin(metadata: dict) -> dict:
    names = {"model_name": "model", "hook_name": "hookpoint"}
    return {field: metadata[key] for key, field in names.items() if isinstance(metadata.get(key), str)}
