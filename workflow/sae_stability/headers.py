"""What can be read off models and matrices in a millisecond: their headers, without torch, numpy or a network."""

import ast
import json
import os
import struct
from pathlib import Path

from sae_stability.corpus.names import resolve_model
from sae_stability.errors import StudyError

_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")
_LM_HEADS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM")
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")


def model_folder(name: str) -> Path | None:
    """The folder of a local model or of one in an installed package; None for a hub name."""
    folder = Path(resolve_model(name))
    return folder if folder.is_dir() else None


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
    return sum(_size(entry["shape"]) for file in files for entry in _tensors(file).values()) or None


def matrix_shape(path: str | os.PathLike, tensor: str | None, where: str) -> tuple[int | None, int | None]:
    """Rows and columns of a matrix file, from its header; (None, None) for Parquet, whose columns may be lists.

    Raises:
        StudyError: no such file, not a matrix, no such tensor, or a format that is not read.
    """
    path = Path(path)
    if not path.is_file():
        raise StudyError(f"{where}.matrix: {path}: no such file")
    readers = {".npy": lambda: _npy_shape(path), ".safetensors": lambda: _tensor_shape(path, tensor, where)}
    if path.suffix == ".parquet":
        return None, None
    if path.suffix not in readers:
        raise StudyError(f"{where}.matrix: {path}: must end in .npy, .safetensors or .parquet")
    try:
        shape = readers[path.suffix]()
    except (ValueError, OSError, struct.error, SyntaxError, KeyError) as error:
        raise StudyError(f"{where}.matrix: {path}: damaged header ({error})") from None
    if len(shape) != 2:
        raise StudyError(f"{where}.matrix: {path}: must have 2 dimensions (rows, columns), has {len(shape)}")
    return int(shape[0]), int(shape[1])


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


def _npy_shape(path: Path) -> tuple[int, ...]:
    with open(path, "rb") as file:
        magic = file.read(8)
        if magic[:6] != b"\x93NUMPY":
            raise ValueError("not a .npy file")
        length = struct.unpack("<H", file.read(2))[0] if magic[6] == 1 else struct.unpack("<I", file.read(4))[0]
        return ast.literal_eval(file.read(length).decode("latin-1").strip())["shape"]


def _tensors(path: Path) -> dict[str, dict]:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > os.path.getsize(path):
            raise ValueError("header longer than the file")
        header = json.loads(file.read(length))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _tensor_shape(path: Path, tensor: str | None, where: str) -> list[int]:
    tensors = _tensors(path)
    name = next(iter(tensors)) if tensor is None and len(tensors) == 1 else tensor
    if name not in tensors:
        raise StudyError(f"{where}.tensor: {path} holds {', '.join(sorted(tensors))}; name one")
    return tensors[name]["shape"]
