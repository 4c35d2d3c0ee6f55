"""Gemma Scope: `params.npz` with `W_enc` (d, n), `W_dec` (n, d), `b_enc` (n), `b_dec` (d), `threshold` (n).

JumpReLU on x itself, without subtracting b_dec. SAEs of embeddings expect x * sqrt(d); this scale is folded in.
"""

import dataclasses
import os
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.formats.untrusted import npz_shapes, read_npz
from sae_stability.sae.weights import Weights, checked

_NAMES = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")


def detect(path: Path) -> bool:
    """Whether `path` is an npz file, or a folder with `params.npz`."""
    return path.suffix == ".npz" or (path / "params.npz").is_file()


def read(path: Path) -> Weights:
    """The SAE at `path`.

    Raises:
        StudyError: the file is missing or damaged, an array does not hold numbers, or shapes disagree.
    """
    file = _file(path)
    arrays = read_npz(file, _NAMES)
    weights = Weights(
        encoder=arrays["W_enc"].T,
        decoder=arrays["W_dec"],
        encoder_bias=arrays["b_enc"],
        decoder_bias=arrays["b_dec"],
        threshold=arrays["threshold"],
        activation="jumprelu",
        subtract_decoder_bias=False,
    )
    weights = checked(weights, file)
    if _of_embeddings(file):
        scale = weights.d_model**0.5
        weights = dataclasses.replace(weights, encoder=weights.encoder / scale, decoder=weights.decoder * scale)
    return checked(weights, file)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from the header of W_enc."""
    shape = npz_shapes(_file(path), ("W_enc",))["W_enc"]
    if len(shape) != 2:
        raise StudyError(f"{_file(path)}: W_enc has shape {shape}; must be (d_model, n_latents)")
    return shape[::-1]


def _of_embeddings(file: Path) -> bool:
    """Whether the file lies as in the release (embedding/width_*/average_l0_*), not just below some `embedding`."""
    # `abspath` keeps links, which the hub's cache consists of.
    folders = Path(os.path.abspath(file)).parts[-4:-2]
    return len(folders) == 2 and folders[0] == "embedding" and folders[1].startswith("width_")


def _file(path: Path) -> Path:
    return path if path.suffix == ".npz" else path / "params.npz"
