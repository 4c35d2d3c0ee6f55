"""Sparse autoencoders: architectures, training, checkpoints, quality.

Everything is imported late: `arrays` must not need torch, and reading a study, which asks for the names of the
architectures, not even numpy.
"""

from importlib import import_module

__all__ = ["arrays", "load", "save"]

# Imported late, because `arrays` must not need torch; and by relative names, because what a module of this package
# reaches by whole names decides when its results are made again, and no reader of another format should retrain an SAE.


def save(path, tensors, cfg):
    """Write an SAE folder: `sae.checkpoint.save`."""
    import_module(".checkpoint", __name__).save(path, tensors, cfg)


def load(path, format=None, device="cpu"):
    """Read an SAE of this project or of another library: `sae.formats.load.load`."""
    return import_module(".formats.load", __name__).load(path, format, device)


def arrays(path, format=None):
    """Tensors of an SAE as numpy arrays by name, without torch unless the format is a pickle.

    Returns:
        `encoder`, `decoder` (n_latents, d_model), `encoder_bias` (n_latents,), `decoder_bias` (d_model,), and those
        that its architecture adds.

    Raises:
        StudyError: as `load`.
    """
    formats = import_module(".formats", __name__)
    if (format or formats.detect(path)) == "own":
        return import_module(".checkpoint", __name__).arrays(path)
    return formats.read(path, format).tensors
