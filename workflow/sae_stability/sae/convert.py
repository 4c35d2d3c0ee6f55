"""Convert an SAE from one format to another. SAEs made elsewhere enter a study this way."""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.ranges import Count
from sae_stability.sae import formats
from sae_stability.sae.checkpoint_files import checkpoint_files
from sae_stability.sae.formats import own


def convert(
    *,
    checkpoint: Path,
    format: str | None = None,
    to: str = "own",
    n_latents: Count | None = None,
    d_model: Count | None = None,
    config_hash: str = "",
    out: Path,
) -> None:
    """Read an SAE and write it as a folder of another format.

    Args:
        checkpoint: folder or file of an SAE.
        format: its format; by default detected from its files.
        to: format to write: own, sparsify, saelens or dictionary_learning.
        n_latents: number of latents that the SAE must have; any if left out.
        d_model: width that the SAE must have; any if left out.
        config_hash: hash of what the SAE was made from, recorded by the project's own format.
        out: folder for the SAE; an SAE of the same format in it is overwritten.

    Raises:
        StudyError: the SAE cannot be read, has another size, or cannot be written in that format; or `out` is its own
            folder, or holds an SAE of another format.
    """
    _check_not_itself(checkpoint, out)
    formats.check_written(to)
    formats.check_free(out, to)
    weights = formats.read(checkpoint, format)
    for quantity, actual, expected in (("latents", weights.n_latents, n_latents), ("width", weights.d_model, d_model)):
        if expected is not None and actual != expected:
            raise StudyError(
                f"{checkpoint}: {quantity} {actual:,}, but the study says {expected:,}; correct n_latents or d_model"
            )
    if to == "own":
        own.write(out, weights, config_hash)
    else:
        formats.write(out, weights, to)


def _check_not_itself(checkpoint: Path, out: Path) -> None:
    if out.resolve() in {file.parent.resolve() for file in checkpoint_files(checkpoint)}:
        raise StudyError(f"{out}: holds {checkpoint} itself, which must not be overwritten; name another folder")
