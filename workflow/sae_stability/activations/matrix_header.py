"""The shape of a matrix file, from its header alone: a millisecond, without numpy."""

import ast
import os
import struct
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.models.headers import tensor_headers


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


def _npy_shape(path: Path) -> tuple[int, ...]:
    with open(path, "rb") as file:
        magic = file.read(8)
        if magic[:6] != b"\x93NUMPY":
            raise ValueError("not a .npy file")
        length = struct.unpack("<H", file.read(2))[0] if magic[6] == 1 else struct.unpack("<I", file.read(4))[0]
        return ast.literal_eval(file.read(length).decode("latin-1").strip())["shape"]


def _tensor_shape(path: Path, tensor: str | None, where: str) -> list[int]:
    tensors = tensor_headers(path)
    name = next(iter(tensors)) if tensor is None and len(tensors) == 1 else tensor
    if name not in tensors:
        raise StudyError(f"{where}.tensor: {path} holds {', '.join(sorted(tensors))}; name one")
    return tensors[name]["shape"]
