"""Reading files that a stranger wrote: every fault is one line, nothing in a file is executed, sizes are checked."""

import contextlib
import json
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError

# Weights hardly shrink when packed; a file that grows so much more is made to fill memory.
_MOST_EXPANSION = 20
_JSON_BYTES = 1 << 24
_LARGEST = 3e38


@contextlib.contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Whatever reading the SAE at `path` runs into inside the block is a `StudyError` of one line.

    Parsers raise all kinds of things at bytes that were made to break them; which one stays attached as the cause.
    """
    try:
        yield
    except (StudyError, MemoryError, ImportError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise StudyError(f"{path}: not readable as an SAE ({kind}: {_line(error)}); fetch it again") from error


def read_settings(path: Path, *needed: str) -> dict:
    """The mapping in a JSON file.

    Raises:
        StudyError: missing, damaged, no mapping, absurdly large, or without one of the keys `needed`.
    """
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise StudyError(f"{path}: {path.stat().st_size:,} bytes of settings; this is no SAE's configuration")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise StudyError(f"{path}: not readable as JSON ({_line(error)})") from None
    if not isinstance(value, dict):
        raise StudyError(f"{path}: must hold a JSON mapping of settings")
    missing = [key for key in needed if key not in value]
    if missing:
        raise StudyError(f"{path}: no {', '.join(missing)}; found {_line(', '.join(list(value)[:12]))}")
    return value


def count(value: object, path: Path, key: str) -> int:
    """A setting that must be a whole number of at least 0; an array of one may hold it in any precision."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
        value = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StudyError(f"{path}: {key} is {_line(repr(value))}; must be a whole number")
    return value


def number(value: object, path: Path, key: str) -> float:
    """A setting that must be a number above 0, within the range of float32."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LARGEST:
        raise StudyError(f"{path}: {key} is {_line(repr(value))}; must be a number above 0")
    return float(value)


def boolean(value: object, path: Path, key: str) -> bool:
    """A setting that must be true or false (null is false); "false" in quotes is neither."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise StudyError(f"{path}: {key} is {_line(repr(value))}; must be true or false")
    return value


def check_sizes(settings: dict, path: Path, **sizes: int) -> None:
    """Raise a `StudyError` where settings give a size and the weights have another one."""
    for key, size in sizes.items():
        if settings.get(key) not in (None, size):
            raise StudyError(f"{path}: {key} is {_line(repr(settings[key]))}, but the weights have {size}")


def one_of(value: object, allowed: Iterable[str], path: Path, key: str) -> str:
    """A setting that must be one of a few words."""
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise StudyError(f"{path}: {key} {_line(value)!r} is not read; allowed: {', '.join(words)}")
    return value


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file, floats as float32 or as they are; bfloat16 without torch.

    Raises:
        StudyError: missing, truncated or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # Opening checks the header against the file: offsets, sizes, nothing left over.
        with safe_open(path, framework="numpy") as file:
            halves = _bfloat16(path)
            return {name: halves[name] if name in halves else file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, struct.error) as error:
        raise StudyError(f"{path}: not readable as safetensors ({_line(error)}); fetch it again") from None


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor, from the header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path}: not readable as safetensors ({_line(error)}); fetch it again") from None


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays `names` of an npz file; anything else in it is left alone.

    Raises:
        StudyError: missing, damaged, an array of Python objects, or a header that claims more than the file holds.
    """
    arrays = {}
    for name, header in _npz_headers(path, names).items():
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
            raise StudyError(f"{path}: {name} {header} cannot be read ({_line(error)}); fetch it again") from None
    return arrays


def npz_shapes(path: Path, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Shape of each of the arrays `names` of an npz file, from their headers."""
    return _npz_headers(path, names)


def read_pickle(path: Path) -> dict:
    """The mapping in a file that torch.save wrote, tensors as float32 arrays (whole numbers as they are).

    Only weights are unpickled (`weights_only=True`): a file that asks for any other code is refused.

    Raises:
        StudyError: missing, damaged, asks for code, holds no mapping, or tensors larger than the file.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            _check_expansion(path, archive)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise StudyError(f"{path}: asks for code to be run, not for weights alone; it is not read") from None
    except zipfile.BadZipFile:
        raise StudyError(
            f"{path}: truncated, or not written by torch.save of PyTorch 1.6 or later; fetch it again"
        ) from None
    except (zlib.error, RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: not readable as a PyTorch checkpoint ({_line(error)}); fetch it again") from None
    if not isinstance(state, dict):
        raise StudyError(f"{path}: holds a {type(state).__name__}, not the mapping of an SAE's tensors")
    return {str(name): _array(value, path, name) for name, value in state.items()}


def tensor(tensors: dict, name: str, path: Path) -> np.ndarray:
    """The tensor of that name.

    Raises:
        StudyError: there is none, or it is something else; names what there is.
    """
    if not isinstance(tensors.get(name), np.ndarray):
        raise StudyError(f"{path}: no tensor {name!r}, found {_line(', '.join(sorted(map(str, tensors))[:12]))}")
    return tensors[name]


def constant(value: float, like: np.ndarray) -> np.ndarray:
    """(n_latents,) float32: one threshold for every latent of an encoder bias."""
    return np.full(like.shape, value, dtype=np.float32)


def _bfloat16(path: Path) -> dict[str, np.ndarray]:
    """The tensors that numpy has no type for, as float32: bfloat16 is the upper half of a float32."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "BF16":
            start, end = entry["data_offsets"]
            half = np.fromfile(path, "<u2", (end - start) // 2, offset=8 + length + start)
            found[name] = (half.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
    return found


def _npz_headers(path: Path, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_expansion(path, archive)
            members = {member.filename: member for member in archive.infolist()}
            missing = [name for name in names if f"{name}.npy" not in members]
            if missing:
                raise StudyError(f"{path}: no array {missing[0]!r}, found {_line(', '.join(sorted(members)[:12]))}")
            return {name: _npy_shape(archive, members[f"{name}.npy"], path) for name in names}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise StudyError(f"{path}: not readable as npz ({_line(error)}); fetch it again") from None


def _npy_shape(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> tuple[int, ...]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise StudyError(f"{path}: {member.filename} is a pickle of Python objects; it is not read")
    # Checked before reading: memory is taken by what the header says.
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise StudyError(f"{path}: {member.filename} claims shape {shape}, more than its {member.file_size:,} bytes")
    return shape


def _check_expansion(path: Path, archive: zipfile.ZipFile) -> None:
    size = sum(member.file_size for member in archive.infolist())
    if size > _MOST_EXPANSION * path.stat().st_size:
        raise StudyError(f"{path}: would unpack to {size:,} bytes; weights do not shrink so much, it is not read")


def _array(value: object, path: Path, name: object) -> object:
    """A tensor as an array; a mapping (OpenAI's activation settings) and plain values as they are."""
    import torch

    if isinstance(value, dict):
        return {str(key): _array(inner, path, f"{name}.{key}") for key, inner in value.items()}
    if not isinstance(value, torch.Tensor):
        return value
    # A view can repeat one number a trillion times.
    if value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
        raise StudyError(f"{path}: {name} of shape {tuple(value.shape)} is larger than what the file holds")
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).numpy()


def _line(error: object) -> str:
    """Words in one line of bearable length."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 160 else f"{words[:157]}..."
