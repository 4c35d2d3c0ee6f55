"""Checkpoint formats. To add one: a module in this folder and a line in `sae.format_names`.

A module has `detect(path)`, `read(path) -> Weights`, `shape(path) -> (n_latents, d_model)` and, if SAEs can also be
written in the format, `write(path, weights)`. Modules are loaded only when needed. The project's own format is tried
first, so reading one of its folders loads no other module. Only formats that are pickles import torch.
"""

import dataclasses
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from sae_stability.errors import StudyError, naming_missing_extra
from sae_stability.sae.checkpoint_files import check_fetched, checkpoint_files
from sae_stability.sae.format_names import FORMATS, WRITTEN
from sae_stability.sae.formats import own
from sae_stability.sae.formats.untrusted import one_line_errors
from sae_stability.sae.weights import Weights


def detect(path: Path) -> str:
    """The name of an SAE's format, detected from its files.

    Raises:
        StudyError: nothing is there, the folder holds several SAEs, or the format is not known.
    """
    path = Path(path)
    if not path.exists():
        raise StudyError(f"{path}: no such file or folder")
    found = recognised(path)
    if found is None:
        inside = [folder.name for folder in _saes_inside(path)]
        if inside:
            raise StudyError(f"{path}: holds several SAEs; name one of {', '.join(inside[:8])}")
        raise StudyError(f"{path}: no SAE in a known format ({', '.join(FORMATS)}), or files are missing")
    return found


def recognised(path: Path) -> str | None:
    """The name of the format whose files are at `path`, or None. Modules after the first match are not loaded."""
    return next((name for name in FORMATS if _module(name).detect(path)), None)


def read(path: Path, format: str | None = None) -> Weights:
    """The SAE at `path`; its `origin` names the format.

    Args:
        path: a folder or a file.
        format: a name in `FORMATS`; None to detect it from the files.

    Raises:
        StudyError: no such format, or the files are in another format, damaged or unsafe.
    """
    path = Path(path)
    check_fetched(path)
    name = _known_format(format) if format else detect(path)
    with naming_missing_extra(), one_line_errors(path):
        weights = _module(name).read(path)
    return dataclasses.replace(weights, origin={"format": name} | weights.origin)


def arrays(path: Path, format: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of an SAE as numpy arrays by name. Imports torch only for formats that are pickles.

    Returns:
        `encoder`, `decoder` (n_latents, d_model), `encoder_bias` (n_latents,), `decoder_bias` (d_model,), and further
        tensors of its architecture.

    Raises:
        StudyError: as in `read`.
    """
    if (format or detect(path)) == "own":
        return own.arrays(path)
    return read(path, format).tensors


def shape(path: Path, format: str | None = None) -> tuple[int, int]:
    """(n_latents, d_model) of the SAE at `path`, from headers and settings alone if the format allows.

    Raises:
        StudyError: as in `read`, or the encoder is not a matrix.
    """
    name = _known_format(format) if format else detect(path)
    with naming_missing_extra(), one_line_errors(path):
        found = tuple(_module(name).shape(Path(path)))
    if len(found) != 2:
        raise StudyError(f"{path}: the encoder has shape {found}; must be a matrix")
    return found


def write(path: Path, weights: Weights, format: str) -> None:
    """Write an SAE as a folder.

    Args:
        format: one of `WRITTEN`.

    Raises:
        StudyError: the format cannot be written, or cannot express this SAE.
    """
    check_written(format)
    with naming_missing_extra():
        _module(format).write(Path(path), weights)


def check_written(format: str) -> None:
    """Check that SAEs can be written in a format.

    Raises:
        StudyError: they cannot.
    """
    if format not in WRITTEN:
        raise StudyError(f"format {format!r} is not written; allowed: {', '.join(WRITTEN)}")


def check_free(out: Path, format: str) -> None:
    """Check that writing an SAE of `format` into the folder `out` damages nothing else.

    Formats share file names, so writing over an SAE of another format would replace only some of its files.

    Raises:
        StudyError: the folder holds an SAE of another format, or other files with the same names.
    """
    if not out.is_dir() or not checkpoint_files(out):
        return
    found = recognised(out)
    # Settings are written last. Weights without settings may be left over from a killed conversion.
    unfinished = found in (None, "own") and not list(out.glob("*.json"))
    if found != format and not unfinished:
        what = f"an SAE of the format {found}" if found else "files of something else"
        raise StudyError(f"{out}: holds {what}, which an SAE of the format {format} would damage; name another folder")


def saes_at(path: Path) -> list[Path]:
    """The SAEs at a path, in order: the path itself, or the SAEs in its sub-folders (sparsify's `seed0`, `seed1`)."""
    path = Path(path)
    if recognised(path):
        return [path]
    return _saes_inside(path) or [path]


def _saes_inside(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    folders = [child for child in path.iterdir() if child.is_dir()]
    found = [child for child in folders if recognised(child)]
    return sorted(found, key=lambda child: _text_and_numbers(child.name))


def _text_and_numbers(name: str) -> list[str | int]:
    """`name` split into text and numbers, so that seed10 sorts after seed9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise StudyError(f"format {name!r} is not known; allowed: {', '.join(FORMATS)}")
    return name


def _module(name: str) -> ModuleType:
    return import_module(FORMATS[name])
