"""Read untrusted files: nothing in them is executed, sizes are checked, every error is one line."""

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

# Weights hardly compress. A file that expands more than this is a decompression bomb.
_MOST_EXPANSION = 20
_MOST_JSON_BYTES = 1 << 24
_LARGEST_FLOAT = 3e38


@contextlib.contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Turn any exception in the block into a `StudyError` of one line about the SAE at `path`.

    Parsers raise many kinds of exceptions on bytes made to break them. The original stays attached as the cause.
    """
    try:
        yield
    except (StudyError, MemoryError, ImportError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise StudyError(f"{path}: not readable as an SAE ({kind}: {_one_line(error)}); fetch it again") from error


def read_settings(path: Path, *needed: str) -> dict:
    """The mapping in a JSON file.

    Raises:
        StudyError: the file is missing, damaged, too large or not a mapping, or lacks one of the keys `needed`.
    """
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise StudyError(f"{path}: {path.stat().st_size:,} bytes, too many for the settings of an SAE")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise StudyError(
            f"{path}: not readable as JSON ({_one_line(error)}); delete its folder, and fetch or make it again"
        ) from None
    if not isinstance(value, dict):
        raise StudyError(f"{path}: must hold a JSON mapping of settings")
    missing = [key for key in needed if key not in value]
    if missing:
        raise StudyError(f"{path}: no {', '.join(missing)}; found {_one_line(', '.join(list(value)[:12]))}")
    return value


def whole_number(value: object, path: Path, key: str) -> int:
    """Check a setting that must be a whole number >= 0. It may be an array with one element, of any dtype."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
        value = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StudyError(f"{path}: {key} is {_one_line(repr(value))}; must be a whole number")
    return value


def positive_number(value: object, path: Path, key: str) -> float:
    """Check a setting that must be a number above 0, within the range of float32."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LARGEST_FLOAT:
        raise StudyError(f"{path}: {key} is {_one_line(repr(value))}; must be a number above 0")
    return float(value)


def boolean(value: object, path: Path, key: str) -> bool:
    """Check a setting that must be true or false. Null counts as false; the string "false" is refused."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise StudyError(f"{path}: {key} is {_one_line(repr(value))}; must be true or false")
    return value


def check_sizes(settings: dict, path: Path, **sizes: int) -> None:
    """Check that the sizes stated in the settings are those of the weights.

    Args:
        settings: keys that are missing or None are not checked.
        path: the settings' file, for the error message.
        sizes: key of the settings -> size of the weights.

    Raises:
        StudyError: a size differs.
    """
    for key, size in sizes.items():
        if settings.get(key) not in (None, size):
            raise StudyError(f"{path}: {key} is {_one_line(repr(settings[key]))}, but the weights have {size}")


def one_of(value: object, allowed: Iterable[str], path: Path, key: str) -> str:
    """Check a setting that must be one of the strings `allowed`."""
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise StudyError(f"{path}: {key} {_one_line(value)!r} is not supported; allowed: {', '.join(names)}")
    return value


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file, in its own dtype; bfloat16 and float8 as float32, without torch.

    Raises:
        StudyError: the file is missing, truncated or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # `safe_open` checks the header against the file: offsets and sizes, no bytes left over.
        with safe_open(path, framework="numpy") as file:
            narrow = _narrow_floats(path)
            return {name: narrow[name] if name in narrow else file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, struct.error) as error:
        raise StudyError(f"{path}: not readable as safetensors ({_one_line(error)}); fetch it again") from None


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, from the header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path}: not readable as safetensors ({_one_line(error)}); fetch it again") from None


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays `names` of an npz file. Other arrays are not read.

    Raises:
        StudyError: an array is missing, damaged, made of Python objects, or larger in its header than in the file.
    """
    arrays = {}
    for name, header in _npz_headers(path, names).items():
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
            raise StudyError(f"{path}: {name} {header} cannot be read ({_one_line(error)}); fetch it again") from None
    return arrays


def npz_shapes(path: Path, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays `names` of an npz file, from their headers."""
    return _npz_headers(path, names)


def read_pickle(path: Path) -> dict:
    """The mapping in a file that torch.save wrote. Float tensors become float32 arrays; integers keep their dtype.

    Only weights are unpickled (`weights_only=True`). A file that asks for other code to be run is refused.

    Raises:
        StudyError: the file is missing, is damaged, contains code, holds no mapping, or has tensors larger than itself.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            _check_expansion(path, archive)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise StudyError(f"{path}: asks for code to be run when it is loaded, so it is not read") from None
    except zipfile.BadZipFile:
        raise StudyError(
            f"{path}: truncated, or not written by torch.save of PyTorch 1.6 or later; fetch it again"
        ) from None
    except (zlib.error, RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: not readable as a PyTorch checkpoint ({_one_line(error)}); fetch it again") from None
    if not isinstance(state, dict):
        raise StudyError(f"{path}: holds a {type(state).__name__}, not the mapping of an SAE's tensors")
    return {str(name): _as_arrays(value, path, name) for name, value in state.items()}


def tensor(tensors: dict, name: str, path: Path) -> np.ndarray:
    """The tensor called `name`.

    Raises:
        StudyError: there is no such tensor; the message lists the names that exist.
    """
    if not isinstance(tensors.get(name), np.ndarray):
        raise StudyError(f"{path}: no tensor {name!r}, found {_one_line(', '.join(sorted(map(str, tensors))[:12]))}")
    return tensors[name]


def pickle_mentions(path: Path, name: bytes) -> bool:
    """Whether a file that torch.save wrote has `name` in it, such as that of a tensor. Nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [member for member in archive.infolist() if member.filename.endswith("data.pkl")]
            return any(member.file_size < _MOST_JSON_BYTES and name in archive.read(member) for member in inside)
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False


def uniform_threshold(value: float, like: np.ndarray) -> np.ndarray:
    """One threshold for every latent: an array filled with `value`, (n_latents,) float32, in the shape of `like`."""
    return np.full(like.shape, value, dtype=np.float32)


def _narrow_floats(path: Path) -> dict[str, np.ndarray]:
    """The tensors of types that numpy has not, as float32: bfloat16 and both kinds of float8."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _NARROW:
            stored, decode = _NARROW[entry["dtype"]]
            start, end = entry["data_offsets"]
            size = np.dtype(stored).itemsize
            bits = np.fromfile(path, stored, (end - start) // size, offset=8 + length + start)
            found[name] = decode(bits).reshape(entry["shape"])
    scales = [name for name in header if "scale" in name.lower()]
    if scales and any(header[name]["dtype"].startswith("F8") for name in found):
        raise StudyError(f"{path}: float8 weights with scales beside them ({scales[0]}) are not read; save as float16")
    return found


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """A bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _from_e5m2(bits: np.ndarray) -> np.ndarray:
    """A float8 of 5 exponent bits is the upper half of a float16."""
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _from_e4m3(bits: np.ndarray) -> np.ndarray:
    """A float8 of 4 exponent bits (bias 7) and 3 of mantissa, without infinities; all ones is no number."""
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    size = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10.0))
    values = np.where(code & 127 == 127, np.nan, np.where(code < 128, size, -size))
    return values.astype(np.float32)[bits]


_NARROW = {
    "BF16": ("<u2", _from_bfloat16),
    "F8_E4M3": ("u1", _from_e4m3),
    "F8_E5M2": ("u1", _from_e5m2),
}


def _npz_headers(path: Path, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_expansion(path, archive)
            members = {member.filename: member for member in archive.infolist()}
            missing = [name for name in names if f"{name}.npy" not in members]
            if missing:
                raise StudyError(f"{path}: no array {missing[0]!r}, found {_one_line(', '.join(sorted(members)[:12]))}")
            return {name: _npy_shape(archive, members[f"{name}.npy"], path) for name in names}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise StudyError(f"{path}: not readable as npz ({_one_line(error)}); fetch it again") from None


def _npy_shape(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> tuple[int, ...]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise StudyError(f"{path}: {member.filename} is a pickle of Python objects; it is not read")
    # Checked before reading, since numpy allocates as much memory as the header claims.
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise StudyError(f"{path}: {member.filename} claims shape {shape}, more than its {member.file_size:,} bytes")
    return shape


def _check_expansion(path: Path, archive: zipfile.ZipFile) -> None:
    size = sum(member.file_size for member in archive.infolist())
    if size > _MOST_EXPANSION * path.stat().st_size:
        raise StudyError(f"{path}: would unpack to {size:,} bytes, more than compressed weights can; it is not read")


def _as_arrays(value: object, path: Path, name: object) -> object:
    """A tensor as an array; tensors inside a mapping (OpenAI's activation settings) too. Other values stay."""
    import torch

    if isinstance(value, dict):
        return {str(key): _as_arrays(inner, path, f"{name}.{key}") for key, inner in value.items()}
    if not isinstance(value, torch.Tensor):
        return value
    # A strided view can repeat one stored number a trillion times.
    if value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
        raise StudyError(f"{path}: {name} of shape {tuple(value.shape)} is larger than what the file holds")
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).numpy()


def _one_line(error: object) -> str:
    """Text as one line of at most 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
