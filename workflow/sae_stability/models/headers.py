"""What can be read off models and matrices in a millisecond: their headers, without torch, numpy or a network."""

import json
import os
import struct
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.models.names import model_folder

_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")
_LM_HEADS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM")
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")


def model_facts(name: str) -> dict[str, int | None]:
    """d_model and max_positions of a local model, from its config.json; empty for a hub name."""
    config = _model_config(name)
    config = {**config, **config.get("text_config", {})}
    return {"d_model": _first(config, _WIDTH), "max_positions": _first(config, _POSITIONS)}


def has_lm_head(name: str) -> bool | None:
    """Whether a model was saved with a language-model head; None for a hub name, which is not looked into."""
    if model_folder(name) is None:
        return None
    return any(architecture.endswith(_LM_HEADS) for architecture in _model_config(name).get("architectures") or [])


def model_parameters(name: str) -> int | None:
    """Number of parameters of a local model, from the headers of its safetensors files; None where there are none."""
    folder = model_folder(name)
    files = sorted(folder.glob("*.safetensors")) if folder else []
    return sum(_size(entry["shape"]) for file in files for entry in tensor_headers(file).values()) or None


def _model_config(name: str) -> dict:
    """A local model's config.json; empty for a hub name."""
    folder = model_folder(name)
    if folder is None:
        return {}
    try:
        return json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise StudyError(f"{folder / 'config.json'}: not readable as a model's configuration ({error})") from None


def _first(config: dict, names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def _size(shape: list[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product


def tensor_headers(path: Path) -> dict[str, dict]:
    """What a safetensors file says of each tensor (`dtype`, `shape`, `data_offsets`), by name."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > os.path.getsize(path):
            raise ValueError("header longer than the file")
        header = json.loads(file.read(length))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}
