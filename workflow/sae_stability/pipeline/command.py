"""Settings and files as words of a command line."""

import os
import shlex
from collections.abc import Iterable

from sae_stability.study.parts import Model

# The commands of a stage take files from its `inputs` and `outputs`, as its rule does, and not from the `input` that
# Snakemake hands to a function: a parameter made from that does not count when Snakemake looks for changed settings.


def flags(**settings: object) -> str:
    """Settings as command-line flags, `n_latents=8` as `--n-latents 8`; None is left out.

    A value that begins with a dash would be taken for a flag, so it is joined to its own: `--name=-8`.
    """
    words = []
    for name, value in settings.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            joint = "=" if text.startswith("-") else " "
            words.append(f"--{name.replace('_', '-')}{joint}{shlex.quote(text)}")
    return " ".join(words)


def model_flags(model: Model) -> str:
    """Which model a job loads, with which weights, its number type, and which part of it runs."""
    return flags(
        model=model.name,
        revision=model.revision,
        sha256=model.sha256,
        model_dtype=model.dtype,
        model_part=model.part,
        model_random_seed=model.random_seed,
    )


def folders(files: Iterable[str]) -> list[str]:
    """The folders that these files lie in, each once, in the order of the files."""
    return list(dict.fromkeys(map(os.path.dirname, files)))


def given_inputs(files: Iterable[str]) -> list[str]:
    """The files of a study that a rule can name as its inputs.

    Snakemake takes {word} in a path for a wildcard, and knows no way to write a brace. Files with one are read all the
    same: a job's settings name them, and its fingerprint has their contents.
    """
    return [file for file in files if "{" not in file]


def keyed(key: object, value: object) -> str:
    """KEY=VALUE for a flag that takes such pairs. An = in the key is written %3D, and a % as %25."""
    return f"{str(key).replace('%', '%25').replace('=', '%3D')}={value}"
