"""Sparse autoencoders: architectures, training, checkpoints, quality.

Everything is imported late: `arrays` must not need torch, and reading a study, which asks for the names of the
architectures, not even numpy.
"""

__all__ = ["arrays", "load", "save"]


def arrays(path):
    """Tensors of an SAE folder as numpy arrays: `sae.checkpoint.arrays`."""
    from sae_stability.sae.checkpoint import arrays

    return arrays(path)


def save(path, tensors, cfg):
    """Write an SAE folder: `sae.checkpoint.save`."""
    from sae_stability.sae.checkpoint import save

    save(path, tensors, cfg)


def load(path, device="cpu"):
    """Read an SAE folder: `sae.model.load`."""
    from sae_stability.sae.model import load

    return load(path, device)
