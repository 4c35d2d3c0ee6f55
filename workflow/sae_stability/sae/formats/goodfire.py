"""Goodfire's SAEs of Llama: one `.pth` or `.pt` file, a pickle of tensors in bfloat16.

Tensors: `encoder_linear.weight` (n, d), `encoder_linear.bias` (n), `decoder_linear.weight` (d, n) and
`decoder_linear.bias` (d). Latents: relu(encoder x + bias). Defined in the releases' model cards.
"""

from pathlib import Path

from sae_stability.sae.formats.untrusted import pickle_mentions, read_pickle, tensor
from sae_stability.sae.weights import Weights, checked


def detect(path: Path) -> bool:
    """Whether `path` is such a file; the name of a tensor is looked for without unpickling."""
    return path.suffix in (".pt", ".pth") and pickle_mentions(path, b"encoder_linear.weight")


def read(path: Path) -> Weights:
    """The SAE in a file.

    Raises:
        StudyError: the file is missing, is damaged or contains code.
    """
    tensors = read_pickle(path)
    weights = Weights(
        encoder=tensor(tensors, "encoder_linear.weight", path),
        decoder=tensor(tensors, "decoder_linear.weight", path).T,
        encoder_bias=tensor(tensors, "encoder_linear.bias", path),
        decoder_bias=tensor(tensors, "decoder_linear.bias", path),
        activation="relu",
        subtract_decoder_bias=False,
    )
    return checked(weights, path)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model). This reads the whole file: a pickle has no header with shapes."""
    return tensor(read_pickle(path), "encoder_linear.weight", path).shape
