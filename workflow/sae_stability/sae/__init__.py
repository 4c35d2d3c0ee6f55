"""Sparse autoencoders: architectures, training, checkpoints, quality."""

from sae_stability.sae.checkpoint import arrays, save

__all__ = ["arrays", "load", "save"]


def load(path, device="cpu"):
    """Read an SAE folder: `sae.model.load`. (Imported late: `arrays` must not need torch.)"""
    from sae_stability.sae.model import load

    return load(path, device)
