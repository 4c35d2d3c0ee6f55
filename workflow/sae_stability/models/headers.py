"""Facts about a local model, read in a millisecond from its files' headers: no torch, no numpy, no network."""

import json
import math
import os
import struct
from pathlib import Path

from sae_stability.errors import StudyError, cause, one_line
from sae_stability.models.positions import stated_positions
from sae_stability.models.source import ModelSource

_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")
_LM_HEADS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM")


def model_facts(source: ModelSource) -> dict[str, int | None]:
    """`d_model` and `max_positions` from config.json; None where it does not say, and for a model on the hub.

    Raises:
        StudyError: config.json is missing or cannot be read.
    """
    config = _model_config(source)
    text = config.get("text_config")
    config = {**config, **(text if isinstance(text, dict) else {})}
    return {"d_model": _first(config, _WIDTH), "max_positions": stated_positions(config)}


def has_lm_head(source: ModelSource) -> bool | None:
    """Whether the model was saved with a language-model head; None for a model on the hub. A part of one has none.

    Raises:
        StudyError: config.json is missing or cannot be read.
    """
    if source.part:
        return False
    if source.folder is None:
        return None
    names = _model_config(source).get("architectures")
    return any(str(name).endswith(_LM_HEADS) for name in (names if isinstance(names, list) else []))


def model_parameters(source: ModelSource) -> int | None:
    """Number of parameters, from the headers of the safetensors files; None where there are no such files.

    Raises:
        StudyError: a file is damaged.
    """
    files = sorted(source.folder.glob("*.safetensors")) if source.folder else []
    total = 0
    for file in files:
        # A file of a repository that was cloned without Git LFS holds a few lines of text.
        with one_line(f"{file}: not readable as safetensors", "fetch it again"):
            total += sum(math.prod(entry["shape"]) for entry in tensor_headers(file).values())
    return total or None


def tensor_headers(path: Path) -> dict[str, dict]:
    """What a safetensors file says of each tensor (`dtype`, `shape`, `data_offsets`), by name.

    Raises:
        ValueError, KeyError, struct.error: the header is damaged.
    """
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > os.path.getsize(path):
            raise ValueError("header longer than the file")
        header = json.loads(file.read(length))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _model_config(source: ModelSource) -> dict:
    """A local model's config.json; empty for a model on the hub."""
    folder = source.folder
    if folder is None:
        return {}
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{path}: not readable as a model's configuration ({cause(error)})") from None
    if not isinstance(config, dict):
        raise StudyError(f"{path}: not readable as a model's configuration (it holds a {type(config).__name__})")
    return config


def _first(config: dict, names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if type(config.get(name)) is int and config[name] > 0), None)
