"""OpenAI's sparse_autoencoder: one `.pt` file, a pickle of tensors.

Tensors: `pre_bias` (d), `encoder.weight` (n, d), `latent_bias` (n), `decoder.weight` (d, n); `activation` names the
function and `activation_state_dict` holds its k. TopK SAEs normalise each row: (x - mean) / standard deviation.
"""

from pathlib import Path

from sae_stability.sae.formats import batchtopk, dictionary_learning, goodfire, qwen_scope
from sae_stability.sae.formats.untrusted import one_of, read_pickle, tensor, whole_number
from sae_stability.sae.weights import Weights, checked


def detect(path: Path) -> bool:
    """Whether `path` is a `.pt` file of none of the other formats."""
    others = (dictionary_learning.detect, batchtopk.detect, qwen_scope.detect, goodfire.detect)
    return path.suffix == ".pt" and not any(detects(path) for detects in others)


def read(path: Path) -> Weights:
    """The autoencoder in a file.

    Raises:
        StudyError: the file is missing, is damaged, contains code, or has an unknown activation.
    """
    tensors = read_pickle(path)
    name = one_of(tensors.get("activation", "ReLU"), ("ReLU", "TopK"), path, "activation")
    state = tensors.get("activation_state_dict")
    state = state if isinstance(state, dict) else {}
    one_of(state.get("postact_fn", "ReLU"), ("ReLU",), path, "activation after TopK")
    weights = Weights(
        encoder=tensor(tensors, "encoder.weight", path),
        decoder=tensor(tensors, "decoder.weight", path).T,
        encoder_bias=tensor(tensors, "latent_bias", path),
        decoder_bias=tensor(tensors, "pre_bias", path),
        activation=name.lower(),
        k=whole_number(state.get("k"), path, "k") if name == "TopK" else None,
        input_norm="layer" if name == "TopK" else "none",
    )
    return checked(weights, path)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model). This reads the whole file: a pickle has no header with shapes."""
    return tensor(read_pickle(path), "encoder.weight", path).shape
