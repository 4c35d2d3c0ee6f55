"""The SAEs that a person names: a local path, or a folder of a repository on the Hugging Face hub."""

import re
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from sae_stability.errors import StudyError
from sae_stability.files import sha256
from sae_stability.sae import formats, hub
from sae_stability.sae.checkpoint_files import checkpoint_files
from sae_stability.sae.weights import Weights

_ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<folder>[^@]+)(@(?P<revision>.+))?")


@dataclass(frozen=True)
class Compared:
    """One of the SAEs.

    Attributes:
        name: a letter, by which the results name it.
        given: what the person wrote.
        path: where it lies.
        weights: the SAE.
        digests: SHA-256 of its files, by name.
    """

    name: str
    given: str
    path: Path
    weights: Weights
    digests: dict[str, str]


def read_all(words: list[str], downloads: Path) -> list[Compared]:
    """Read the SAEs; those on the hub are downloaded into `downloads`.

    Raises:
        StudyError: fewer than 2 SAEs or more than 26, no such SAE, a damaged one, or SAEs of different widths.
    """
    if not 2 <= len(words) <= len(ascii_uppercase):
        raise StudyError(f"compare: {len(words)} SAE given; name at least 2, and at most {len(ascii_uppercase)}")
    found = []
    for name, given in zip(ascii_uppercase, words, strict=False):
        path = _local(given, downloads / name)
        weights = formats.read(path)
        digests = {file.name: sha256(file) for file in checkpoint_files(path)}
        found.append(Compared(name, given, path, weights, digests))
    for other in found[1:]:
        if other.weights.d_model != found[0].weights.d_model:
            raise StudyError(
                f"{other.given}: has width {other.weights.d_model}, but {found[0].given} has width "
                f"{found[0].weights.d_model}; only SAEs of one width can be compared"
            )
    return found


def _local(given: str, downloads: Path) -> Path:
    on_hub = _ON_HUB.fullmatch(given)
    if Path(given).exists() or on_hub is None:
        return Path(given)
    return hub.fetch(**on_hub.groupdict(), out=downloads)
