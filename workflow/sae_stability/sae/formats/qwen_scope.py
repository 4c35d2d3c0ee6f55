"""Qwen Scope: one `layerN.sae.pt` a layer, a pickle of tensors.

Tensors: `W_enc` (n, d), `W_dec` (d, n), `b_enc` (n), `b_dec` (d). Latents: the k largest of W_enc x + b_enc. Of these
the release keeps those below 0 too; here they are 0. The file does not say k. It stands in the repository's name,
`..-L0_50`, so a folder above the file must be called so, or a `config.json` beside it must hold `k`.
"""

import re
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.formats.untrusted import read_pickle, read_settings, tensor, whole_number
from sae_stability.sae.weights import Weights, checked

NAME = re.compile(r"layer(\d+)\.sae\.pt")
_K = re.compile(r"L0_(\d+)")


def detect(path: Path) -> bool:
    """Whether `path` is a `layerN.sae.pt`."""
    return NAME.fullmatch(path.name) is not None and path.is_file()


def read(path: Path) -> Weights:
    """The SAE of a layer.

    Raises:
        StudyError: the file is missing, is damaged or contains code, or nothing says k.
    """
    tensors = read_pickle(path)
    weights = Weights(
        encoder=tensor(tensors, "W_enc", path),
        decoder=tensor(tensors, "W_dec", path).T,
        encoder_bias=tensor(tensors, "b_enc", path),
        decoder_bias=tensor(tensors, "b_dec", path),
        activation="topk",
        k=_k(path),
        subtract_decoder_bias=False,
    )
    return checked(weights, path)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model). This reads the whole file: a pickle has no header with shapes."""
    return tensor(read_pickle(path), "W_enc", path).shape


def _k(path: Path) -> int:
    config = path.with_name("config.json")
    if config.is_file() and "k" in (settings := read_settings(config)):
        return whole_number(settings["k"], config, "k")
    for folder in path.resolve().parents:
        if found := _K.findall(folder.name):
            return int(found[-1])
    raise StudyError(
        f"{path}: the file does not say how many latents fire; name its folder as the release does, ending in L0_50, "
        'or put a config.json with {"k": 50} beside it'
    )
