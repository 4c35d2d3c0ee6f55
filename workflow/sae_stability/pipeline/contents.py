"""Checksums of the files that a study reads, and versions of the packages: parts of its results' fingerprints.

Two results with the same fingerprint have the same bytes. An SAE made from other settings or data has another one.
"""

import functools
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from sae_stability.corpus.data_sets import data_set_files
from sae_stability.corpus.text_files import local_files
from sae_stability.files import remembered, sha256, write_json
from sae_stability.study.parts import Corpus, Model

# What decides a tokenizer's and a model's behaviour beside the weights.
_MODEL_FILES = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.bpe", "*.vocab", "*.spm")
_WEIGHTS = ("*.safetensors", "*.bin")


class Contents:
    """SHA-256 of files, remembered by size and time in the file `memory`, so that a large one is read once.

    A file that was only touched is read again and keeps its fingerprint.
    """

    def __init__(self, memory: Path) -> None:
        self.memory = Path(memory)
        self.known: dict[str, list] = remembered(self.memory).get("files", {})
        self.new = False

    def of(self, paths: Iterable[Path]) -> list[str]:
        """The SHA-256 of each file; "missing" where there is no file."""
        try:
            return [self._of_file(path) for path in map(str, paths)]
        finally:
            if self.new:
                write_json(self.memory, {"files": self.known})
                self.new = False

    def _of_file(self, path: str) -> str:
        if not Path(path).is_file():
            return "missing"
        stat = Path(path).stat()
        entry = [stat.st_size, stat.st_mtime_ns]
        if self.known.get(path, [])[:2] != entry:
            self.known[path] = [*entry, sha256(path)]
            self.new = True
        return self.known[path][2]

    def of_model(self, model: Model) -> list:
        """What decides a model's tokens and activations: its name on the hub and revision, or the files' contents."""
        facts = [model.revision, model.sha256, model.dtype]
        is_random = model.random_seed is not None
        if is_random:
            facts += ["random weights", model.random_seed]
        folder = model.folder
        if folder is None:
            return [model.name, *facts]
        small = sorted(file for pattern in _MODEL_FILES for file in folder.glob(pattern))
        # Weights whose checksum the study states are checked against it by every job that loads them.
        unread = is_random or model.sha256
        weights = [] if unread else sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))
        names = [file.name for file in (*small, *weights)]
        return [*facts, names, self.of([*small, *weights])]

    def of_corpus(self, corpus: Corpus) -> list:
        """What decides a corpus: its settings, with the contents of its files or the versions of its packages."""
        facts = [corpus.documents, corpus.seed]
        if corpus.documents["kind"] == "files":
            return [*facts, *self._named(local_files(corpus.documents["paths"]))]
        if corpus.documents["kind"] == "hub":
            return [*facts, *self._named(data_set_files(corpus.documents["name"]))]
        if corpus.documents["kind"] == "docstrings":
            return [*facts, [_version(package) for package in corpus.documents["packages"]]]
        return facts

    def named_model(self, model: Model) -> dict[str, str]:
        """The SHA-256 of a local model's files by name, but for weights whose checksum the study states."""
        return {} if model.folder is None else dict(zip(*self.of_model(model)[-2:], strict=True))

    def named_corpus(self, corpus: Corpus) -> dict[str, str]:
        """The SHA-256 of a corpus's local files by name, or the versions of its packages."""
        found = self.of_corpus(corpus)[2:]
        if corpus.documents["kind"] == "docstrings":
            found = [corpus.documents["packages"], *found]
        return dict(zip(*found, strict=True)) if found else {}

    def _named(self, files: list[Path]) -> list:
        """Names and contents: the ending of a name says how the file is read."""
        return [[file.name for file in files], self.of(files)]


def _version(package: str) -> str:
    """The installed version of an importable package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # The package goes by another name than its distribution (sklearn, scikit-learn): a slower search.
        names = _distributions().get(package, [])
        return importlib.metadata.version(names[0]) if names else "not installed"


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
