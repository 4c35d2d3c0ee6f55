"""The repository of the BatchTopK paper (arXiv 2412.06410): `sae.pt`, a pickle of tensors, and `config.json`.

Tensors: `W_enc` (d, n), `W_dec` (n, d), `b_enc` (n), `b_dec` (d), and `jumprelu.log_threshold` (n) for JumpReLU. With
`input_unit_norm`, each row is normalised: (x - mean) / (standard deviation + 1e-5). Latents by `sae_type`:

- topk: the k largest of relu((x - b_dec) W_enc); the encoder bias is not used, unless `use_encoder_bias` is true;
- batchtopk: the same, but the k * rows largest of a batch. No threshold is stored, so rows are taken one by one, which
  is the definition for a batch of one row;
- vanilla: relu((x - b_dec) W_enc + b_enc);
- jumprelu: relu(x W_enc + b_enc) where it is above exp(log_threshold).
"""

from pathlib import Path

import numpy as np

from sae_stability.sae.formats.untrusted import (
    boolean,
    check_sizes,
    one_of,
    read_pickle,
    read_settings,
    tensor,
    whole_number,
)
from sae_stability.sae.weights import Weights, checked

_FILE, _SETTINGS = "sae.pt", "config.json"
_TYPES = {"topk": "topk", "batchtopk": "topk", "vanilla": "relu", "jumprelu": "jumprelu"}


def detect(path: Path) -> bool:
    """Whether `path` is such a folder, or its `sae.pt`."""
    file = _file(path)
    return file.is_file() and file.with_name(_SETTINGS).is_file()


def read(path: Path) -> Weights:
    """The SAE in a folder.

    Raises:
        StudyError: a file is missing or damaged, contains code, or has a setting that is not known.
    """
    file = _file(path)
    config = file.with_name(_SETTINGS)
    settings, tensors = read_settings(config, "sae_type"), read_pickle(file)
    kind = one_of(settings["sae_type"], _TYPES, config, "sae_type")
    one_of(settings.get("activation", "relu"), ("relu",), config, "activation")
    encoder, bias = tensor(tensors, "W_enc", file).T, tensor(tensors, "b_enc", file)
    activation = _TYPES[kind]
    biased = activation != "topk" or boolean(settings.get("use_encoder_bias"), config, "use_encoder_bias")
    tied = boolean(settings.get("tied_weights"), config, "tied_weights")
    hookpoint = settings.get("hook_point")
    weights = Weights(
        encoder=encoder,
        decoder=encoder if tied else tensor(tensors, "W_dec", file),
        encoder_bias=bias if biased else np.zeros_like(bias),
        decoder_bias=tensor(tensors, "b_dec", file),
        activation=activation,
        k=whole_number(settings.get("top_k"), config, "top_k") if activation == "topk" else None,
        threshold=np.exp(tensor(tensors, "jumprelu.log_threshold", file)) if kind == "jumprelu" else None,
        subtract_decoder_bias=kind != "jumprelu",
        input_norm="layer" if boolean(settings.get("input_unit_norm"), config, "input_unit_norm") else "none",
        origin={"hookpoint": hookpoint} if isinstance(hookpoint, str) else {},
    )
    weights = checked(weights, file)
    check_sizes(settings, config, dict_size=weights.n_latents, act_size=weights.d_model)
    return weights


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the settings."""
    config = _file(path).with_name(_SETTINGS)
    settings = read_settings(config, "dict_size", "act_size")
    return tuple(whole_number(settings[key], config, key) for key in ("dict_size", "act_size"))


def _file(path: Path) -> Path:
    return path if path.name == _FILE and not path.is_dir() else path / _FILE
