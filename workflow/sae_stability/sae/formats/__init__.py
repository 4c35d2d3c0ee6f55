"""Checkpoints in the formats of the field. A new format is a module here and a line below.

A module has `detect(path)`, `read(path) -> Weights`, `shape(path) -> (n_latents, d_model)` and, if SAEs are also
written in this format, `write(path, weights)`. Modules are loaded by name when they are needed, and the project's own
format is tried first: reading one of its folders loads no other. torch is imported only where a format is a pickle.
"""

import dataclasses
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.sae.checkpoint_files import checkpoint_files
from sae_stability.sae.formats import own
from sae_stability.sae.formats.untrusted import one_line_errors
from sae_stability.sae.weights import Weights

# In the order in which they are tried, the project's own first; no two detect the same files.
REGISTRY = {
    "own": "sae_stability.sae.formats.own",
    "sparsify": "sae_stability.sae.formats.sparsify",
    "saelens": "sae_stability.sae.formats.saelens",
    "dictionary_learning": "sae_stability.sae.formats.dictionary_learning",
    "gemma_scope": "sae_stability.sae.formats.gemma_scope",
    "gemma_scope_2": "sae_stability.sae.formats.gemma_scope_2",
    "llama_scope": "sae_stability.sae.formats.llama_scope",
    "openai": "sae_stability.sae.formats.openai",
}
WRITTEN = ("own", "sparsify", "saelens", "dictionary_learning")


def detect(path: Path) -> str:
    """The name of the format of an SAE, by its files.

    Raises:
        StudyError: there is nothing, several SAEs in one folder, or a format that is not known.
    """
    path = Path(path)
    if not path.exists():
        raise StudyError(f"{path}: no such file or folder")
    found = recognised(path)
    if found is None:
        inside = [folder.name for folder in _inside(path)]
        if inside:
            raise StudyError(f"{path}: holds several SAEs; name one of {', '.join(inside[:8])}")
        raise StudyError(f"{path}: in none of the formats that are read ({', '.join(REGISTRY)}), or files are missing")
    return found


def recognised(path: Path) -> str | None:
    """The name of the format whose files lie at `path`, or None. Formats after the first that fits are not loaded."""
    return next((name for name in REGISTRY if _module(name).detect(path)), None)


def read(path: Path, format: str | None = None) -> Weights:
    """The SAE at `path`, a folder or a file; its `origin` names the format.

    Args:
        format: a name in `REGISTRY`; None to tell by the files.

    Raises:
        StudyError: no such format, or the files are not of it, damaged, or not to be trusted.
    """
    path = Path(path)
    name = _named(format) if format else detect(path)
    with one_line_errors(path):
        weights = _module(name).read(path)
    return dataclasses.replace(weights, origin={"format": name} | weights.origin)


def arrays(path: Path, format: str | None = None) -> dict[str, np.ndarray]:
    """Tensors of an SAE as numpy arrays by name, without torch unless the format is a pickle.

    Returns:
        `encoder`, `decoder` (n_latents, d_model), `encoder_bias` (n_latents,), `decoder_bias` (d_model,), and those
        that its architecture adds.

    Raises:
        StudyError: as `read`.
    """
    if (format or detect(path)) == "own":
        return own.arrays(path)
    return read(path, format).tensors


def shape(path: Path, format: str | None = None) -> tuple[int, int]:
    """(n_latents, d_model) of the SAE at `path`; from headers and settings where the format allows."""
    name = _named(format) if format else detect(path)
    with one_line_errors(path):
        found = tuple(_module(name).shape(Path(path)))
    if len(found) != 2:
        raise StudyError(f"{path}: the encoder has shape {found}; must be a matrix")
    return found


def write(path: Path, weights: Weights, format: str) -> None:
    """Write an SAE as a folder of one of `WRITTEN`.

    Raises:
        StudyError: the format is not written, or has no such SAEs.
    """
    if format not in WRITTEN:
        raise StudyError(f"{path}: format {format!r} is not written; allowed: {', '.join(WRITTEN)}")
    _module(format).write(Path(path), weights)


def check_free(out: Path, format: str) -> None:
    """Raise a `StudyError` where writing an SAE of `format` into the folder `out` would damage something else.

    Formats share file names: written over another one, an SAE would lose some of its files.
    """
    if not out.is_dir() or not checkpoint_files(out):
        return
    found = recognised(out)
    # Settings are written last: without them these may be the weights that a killed conversion left.
    unfinished = found in (None, "own") and not list(out.glob("*.json"))
    if found != format and not unfinished:
        what = f"an SAE of the format {found}" if found else "files of something else"
        raise StudyError(f"{out}: holds {what}, which an SAE of the format {format} would damage; name another folder")


def saes_at(path: Path) -> list[Path]:
    """The SAEs at a path, in order: itself, or those in its sub-folders (sparsify's `seed0`, `seed1`)."""
    path = Path(path)
    if recognised(path):
        return [path]
    return _inside(path) or [path]


def _inside(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    folders = [child for child in path.iterdir() if child.is_dir()]
    found = [child for child in folders if recognised(child)]
    return sorted(found, key=lambda child: [int(part) if part.isdecimal() else part for part in _parts(child.name)])


def _parts(name: str) -> list[str]:
    """A name cut at its numbers, text and numbers in turn: seed10 comes after seed9."""
    return re.split(r"(\d+)", name)


def _named(name: str) -> str:
    if name not in REGISTRY:
        raise StudyError(f"format {name!r} is not known; allowed: {', '.join(REGISTRY)}")
    return name


def _module(name: str) -> ModuleType:
    return import_module(REGISTRY[name])
