"""An SAE in any format, ready to encode and decode."""

from pathlib import Path

import torch

from sae_stability.sae import formats
from sae_stability.sae.formats.untrusted import one_line_errors
from sae_stability.sae.given import GivenSAE, load_folder
from sae_stability.sae.model import SAE


def load(path: Path, format: str | None = None, device: str | torch.device = "cpu") -> SAE | GivenSAE:
    """Read an SAE, a folder or a file, of any format in `formats.REGISTRY`.

    Args:
        path: folder or file.
        format: name of the format; None to tell by the files.
        device: a torch device.

    Raises:
        StudyError: there is no such SAE, or its files are damaged, disagree, or ask for code to be run.
    """
    if (format or formats.detect(path)) == "own":
        torch.empty(0, device=device)  # one that is not there is no fault of the file
        with one_line_errors(path):
            return load_folder(path, device)
    return GivenSAE(formats.read(path, format), device)
