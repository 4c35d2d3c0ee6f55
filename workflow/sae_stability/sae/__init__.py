"""Sparse autoencoders: architectures, training, checkpoints, quality.

The public functions are imported on first use. A study's file needs only the names of the architectures, so it is read
without numpy; `arrays` works without torch.
"""

from sae_stability.errors import naming_missing_extra

__all__ = ["arrays", "load", "save", "train"]


def __getattr__(name: str):
    with naming_missing_extra():
        if name == "arrays":
            from sae_stability.sae.formats import arrays

            return arrays
        if name == "load":
            from sae_stability.sae.model import load

            return load
        if name == "save":
            from sae_stability.sae.model import save

            return save
        if name == "train":
            from sae_stability.sae.training.in_memory import train

            return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
