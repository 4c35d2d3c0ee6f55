"""Settings and files as words of a command line."""

import os
import shlex
from collections.abc import Iterable

from sae_stability.study.parts import Model

# The commands of a stage take files from its `inputs` and `outputs`, as its rule does, and not from the `input` that
# Snakemake hands to a function: a parameter made from that does not count when Snakemake looks for changed settings.


def flags(**settings: object) -> str:
    """Settings as command-line flags, `n_latents=8` as `--n-latents 8`; None is left out."""
    words = []
    for name, value in settings.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(words)


def model_flags(model: Model) -> str:
    """Which model a job loads, and its number type."""
    return flags(model=model.name, revision=model.revision, sha256=model.sha256, model_dtype=model.dtype)


def folders(files: Iterable[str]) -> list[str]:
    """The folders that these files lie in, each once, in the order of the files."""
    return list(dict.fromkeys(map(os.path.dirname, files)))
