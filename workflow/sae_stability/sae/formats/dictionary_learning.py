"""dictionary_learning (saprmarks): `ae.pt`, a pickle of tensors, and `config.json`.

The setting `trainer.dict_class` names the class, which says what the tensors mean. It may be missing if the tensors'
names identify the class. Files saved during training are also read: `checkpoints/ae_STEP.pt`, and backups with the
optimiser's state (`ae`, `step`, `optimizer`), whose biases apply to activations divided by `norm_factor`. BatchTopK and
Matryoshka SAEs are read for inference: relu(pre) above one common threshold. After fewer than 1,000 training steps that
threshold is -1, which has no effect.
"""

import io
import re
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.files import atomic, write_plain_json
from sae_stability.sae.formats.untrusted import (
    check_sizes,
    one_of,
    positive_number,
    read_pickle,
    read_settings,
    tensor,
    uniform_threshold,
    whole_number,
)
from sae_stability.sae.weights import Weights, checked

NAME = re.compile(r"ae(_\d+)?\.pt")
_LINEAR = {"encoder": "encoder.weight", "decoder": "decoder.weight", "encoder_bias": "encoder.bias"}
_MATRICES = {"encoder": "W_enc", "decoder": "W_dec", "encoder_bias": "b_enc", "decoder_bias": "b_dec"}
# The tensors of each class. `_LINEAR` classes store the decoder as (d, n), `_MATRICES` classes store the encoder so.
_CLASSES = {
    "AutoEncoder": _LINEAR | {"decoder_bias": "bias"},
    "AutoEncoderNew": _LINEAR | {"decoder_bias": "decoder.bias"},
    "GatedAutoEncoder": _LINEAR
    | {"encoder_bias": "mag_bias", "gate_bias": "gate_bias", "log_magnitude": "r_mag", "decoder_bias": "decoder_bias"},
    "AutoEncoderTopK": _LINEAR | {"decoder_bias": "b_dec"},
    "BatchTopKSAE": _LINEAR | {"decoder_bias": "b_dec", "threshold": "threshold"},
    "JumpReluAutoEncoder": _MATRICES | {"threshold": "threshold"},
    "MatryoshkaBatchTopKSAE": _MATRICES | {"threshold": "threshold"},
}
_ACTIVATIONS = {"GatedAutoEncoder": "gated", "AutoEncoderTopK": "topk", "AutoEncoder": "relu", "AutoEncoderNew": "relu"}
_IN_ACTIVATION_UNITS = ("encoder_bias", "decoder_bias", "gate_bias")
_RAW_INPUT = ("AutoEncoderNew", "JumpReluAutoEncoder")
_WITH_K = ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")
# A tensor that only this class has.
_UNIQUE_TENSORS = {
    "group_sizes": "MatryoshkaBatchTopKSAE",
    "decoder_bias": "GatedAutoEncoder",
    "bias": "AutoEncoder",
    "decoder.bias": "AutoEncoderNew",
    "W_enc": "JumpReluAutoEncoder",
}


def detect(path: Path) -> bool:
    """Whether `path` is an `ae.pt` or `ae_STEP.pt`, or a folder with an `ae.pt`."""
    return NAME.fullmatch(path.name) is not None or (path / "ae.pt").is_file()


def read(path: Path) -> Weights:
    """The dictionary at `path`.

    Raises:
        StudyError: a file is missing, is damaged, contains code, or does not match its stated class.
    """
    file = _file(path)
    tensors, norm_factor = read_pickle(file), None
    if isinstance(tensors.get("ae"), dict):
        norm_factor, tensors = tensors.get("norm_factor"), tensors["ae"]
    trainer = _trainer(file)
    name = _class_name(tensors, trainer, file)
    found = {field: tensor(tensors, key, file) for field, key in _CLASSES[name].items()}
    transposed = "encoder" if "W_enc" in tensors else "decoder"
    found[transposed] = found[transposed].T
    if "threshold" in found and found["threshold"].ndim == 0:
        found["threshold"] = uniform_threshold(float(found["threshold"]), found["encoder_bias"])
    if norm_factor is not None:
        found = _unnormalised(found, positive_number(norm_factor, file, "norm_factor"))
    weights = Weights(
        **found,
        activation=_ACTIVATIONS.get(name, "jumprelu"),
        k=_k(tensors, trainer, file) if name in _WITH_K else None,
        subtract_decoder_bias=name not in _RAW_INPUT,
        origin=_origin(trainer) | {"class": name},
    )
    weights = checked(weights, file)
    check_sizes(trainer, _config(file), dict_size=weights.n_latents, activation_dim=weights.d_model)
    return weights


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from config.json."""
    file = _config(_file(path))
    trainer = _trainer(_file(path))
    missing = [key for key in ("dict_size", "activation_dim") if key not in trainer]
    if missing:
        raise StudyError(f"{file}: no trainer.{missing[0]}; give n_latents and d_model where this SAE is named")
    return tuple(whole_number(trainer[key], file, f"trainer.{key}") for key in ("dict_size", "activation_dim"))


def write(path: Path, weights: Weights) -> None:
    """Write a folder that `from_pretrained` of the matching class reads.

    Raises:
        StudyError: dictionary_learning has no class for this SAE.
    """
    import torch

    name = _written_class(path, weights)
    transposed = "encoder" if "W_enc" in _CLASSES[name].values() else "decoder"
    state = {}
    for field, key in _CLASSES[name].items():
        value = getattr(weights, field)
        state[key] = torch.from_numpy(np.ascontiguousarray(value.T if field == transposed else value))
    if name in _WITH_K:
        threshold = float(weights.threshold[0]) if weights.threshold is not None else -1.0
        state |= {"k": torch.tensor(weights.k, dtype=torch.int32), "threshold": torch.tensor(threshold)}
    names = {"model": "lm_name", "hookpoint": "submodule_name"}
    trainer = {
        "dict_class": name,
        "activation_dim": weights.d_model,
        "dict_size": weights.n_latents,
        **({"k": weights.k} if name in _WITH_K else {}),
        **{key: weights.origin.get(field) for field, key in names.items()},
    }
    with atomic(path / "ae.pt") as temporary:
        # Serialised in memory first: on a full disk, torch's own writer names neither the file nor the cause.
        torch.save(state, buffer := io.BytesIO())
        temporary.write_bytes(buffer.getbuffer())
    write_plain_json(path / "config.json", {"trainer": trainer})


def _file(path: Path) -> Path:
    return path if NAME.fullmatch(path.name) else path / "ae.pt"


def _config(file: Path) -> Path:
    """Path of config.json: beside `ae.pt`, or above the folder `checkpoints` of an `ae_STEP.pt`."""
    beside = file.with_name("config.json")
    return beside if beside.is_file() or file.parent.name != "checkpoints" else file.parent.with_name("config.json")


def _unnormalised(tensors: dict[str, np.ndarray], factor: float) -> dict[str, np.ndarray]:
    """Tensors for raw activations, from tensors for activations / factor (as the classes' `scale_biases`)."""
    scaled = {name: value * np.float32(factor) for name, value in tensors.items() if name in _IN_ACTIVATION_UNITS}
    if "threshold" in tensors:  # a threshold below 0 has no effect; -1 marks one that was never set
        threshold = tensors["threshold"]
        scaled["threshold"] = np.where(threshold >= 0, threshold * np.float32(factor), threshold)
    return tensors | scaled


def _trainer(file: Path) -> dict:
    """The trainer's settings in config.json; empty if there are none."""
    config = _config(file)
    trainer = read_settings(config).get("trainer", {}) if config.is_file() else {}
    if not isinstance(trainer, dict):
        raise StudyError(f"{config}: trainer must be a mapping of settings")
    return trainer


def _class_name(tensors: dict, trainer: dict, file: Path) -> str:
    name = trainer.get("dict_class")
    if name is None:
        name = next((class_name for tensor_name, class_name in _UNIQUE_TENSORS.items() if tensor_name in tensors), None)
    if name is None:
        raise StudyError(
            f"{file}: TopK and BatchTopK SAEs look alike here; put config.json with trainer.dict_class beside the file"
        )
    return one_of(name, _CLASSES, file, "class")


def _k(tensors: dict, trainer: dict, file: Path) -> int:
    if isinstance(tensors.get("k"), np.ndarray):
        return whole_number(tensors["k"], file, "k")
    if "k" not in trainer:
        raise StudyError(f"{file}: no k in this file or in config.json")
    return whole_number(trainer["k"], _config(file), "trainer.k")


def _origin(trainer: dict) -> dict:
    names = {"lm_name": "model", "submodule_name": "hookpoint"}
    return {field: trainer[key] for key, field in names.items() if isinstance(trainer.get(key), str)}


def _written_class(path: Path, weights: Weights) -> str:
    subtract = weights.subtract_decoder_bias
    jump = "BatchTopKSAE" if subtract else "JumpReluAutoEncoder"
    names = {
        "topk": "AutoEncoderTopK" if subtract else None,
        "relu": "AutoEncoder" if subtract else "AutoEncoderNew",
        "gated": "GatedAutoEncoder" if subtract else None,
        "jumprelu": jump,
    }
    name = names.get(weights.activation)
    one_threshold = name != "BatchTopKSAE" or (weights.k is not None and np.ptp(weights.threshold) == 0)
    if name is None or not one_threshold or weights.input_norm != "none" or weights.skip is not None:
        raise StudyError(
            f"{path}: dictionary_learning has no class for a {weights.activation} SAE with subtract_decoder_bias "
            f"{subtract}, input normalisation {weights.input_norm!r} and its thresholds; write it as saelens"
        )
    return name
