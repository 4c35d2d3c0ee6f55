"""The documents of a corpus, one string at a time, in an order that the study fixes."""

import inspect
import random
from collections.abc import Callable, Iterator

from sae_stability.corpus.bad_rows import BadRows
from sae_stability.corpus.data_sets import data_set_files, data_set_rows
from sae_stability.corpus.docstrings import docstrings, find_package
from sae_stability.corpus.text_files import documents_of_file, local_files, texts
from sae_stability.errors import StudyError
from sae_stability.random_streams import stream

# Local files are shuffled through a window, so that a corpus larger than memory can be read.
SHUFFLE_WINDOW = 20_000

DEFAULTS: dict[str, dict] = {
    "docstrings": {"min_characters": 200},
    "hub": {
        "config": None,
        "split": "train",
        "text_column": "text",
        "revision": None,
        "streaming": True,
        "on_bad_row": "error",
    },
    "files": {"text_column": "text", "separator": None, "on_bad_row": "error"},
}
"""Kind of corpus -> the settings that may be left out, with their values. The schema of a study is filled with them."""


def documents(spec: dict, seed: int, bad_rows: BadRows | None = None) -> Iterator[str]:
    """Yield the documents of a corpus: for the same arguments always the same ones, in the same order.

    Args:
        spec: `kind` and the settings of that kind; those in `DEFAULTS` may be left out:
            `{"kind": "docstrings", "packages", "min_characters"}`: docstrings of installed packages, shuffled by
            `seed`;
            `{"kind": "hub", "name", "config", "split", "text_column", "revision", "streaming", "on_bad_row"}`: a data
            set on the hub (or a local folder of data files, or one that `save_to_disk` wrote), in its own order;
            `{"kind": "files", "paths", "text_column", "separator", "on_bad_row"}`: files or patterns, as
            `text_files.documents_of_file` reads them. Files are shuffled by `seed`, then documents within a window of
            20,000.
        seed: the corpus seed.
        bad_rows: counts the rows that hold no text, and says what is done with them; one of its own, by the setting
            `on_bad_row`, if None.

    Raises:
        StudyError: an unknown kind; a setting that is unknown or missing; a package, file, data set or text column
            that does not exist; a bad row where that is an error. A null is no document.
    """
    kinds: dict[str, Callable[..., Iterator[str]]] = {"docstrings": _docstrings, "hub": _hub, "files": _files}
    kind = spec.get("kind")
    if kind not in kinds:
        raise StudyError(f"corpus kind '{kind}' is unknown; allowed: {', '.join(kinds)}")
    rng = random.Random(stream("corpus", seed))
    bad_rows = bad_rows or BadRows(spec.get("on_bad_row", "error"))
    settings = DEFAULTS[kind] | {key: value for key, value in spec.items() if key != "kind"}
    if "on_bad_row" in DEFAULTS[kind]:
        del settings["on_bad_row"]
    try:
        inspect.signature(kinds[kind]).bind(rng, bad_rows, **settings)
    except TypeError as error:
        raise StudyError(f"corpus of kind '{kind}': {error}") from None
    for name, value in settings.items():
        _check_type(kind, name, value)
    return kinds[kind](rng, bad_rows, **settings)


def _check_type(kind: str, name: str, value: object) -> None:
    """Refuse a setting of a wrong type, as a spec that was written by hand may have."""
    if name in ("paths", "packages"):
        right = isinstance(value, list) and value and all(isinstance(item, str) and item for item in value)
        wanted = "a list of texts"
    elif type(default := DEFAULTS[kind].get(name)) in (int, bool):
        right, wanted = type(value) is type(default), "true or false" if type(default) is bool else "a whole number"
    else:
        may_miss = name in DEFAULTS[kind] and default is None
        right, wanted = (isinstance(value, str) and value) or (may_miss and value is None), "a text"
    if not right:
        raise StudyError(f"corpus of kind '{kind}': {name} is {value!r}; it must be {wanted}")


def check_documents(spec: dict) -> None:
    """Refuse local files, folders and packages that are not there. Nothing is read, and the hub is not asked.

    Raises:
        StudyError: a pattern that no file matches, a file of unknown format, a folder that is not there, or a package
            that is not installed.
    """
    if spec["kind"] == "files":
        local_files(spec["paths"])
    elif spec["kind"] == "hub":
        data_set_files(spec["name"])
    elif spec["kind"] == "docstrings":
        for package in spec["packages"]:
            find_package(package)


def _docstrings(rng: random.Random, _bad_rows: BadRows, *, packages: list[str], min_characters: int) -> Iterator[str]:
    found = docstrings(packages, min_characters)
    rng.shuffle(found)
    yield from found


def _hub(
    _rng: random.Random,
    bad_rows: BadRows,
    *,
    name: str,
    config: str | None,
    split: str,
    text_column: str,
    revision: str | None,
    streaming: bool,
) -> Iterator[str]:
    rows = data_set_rows(name, config, split, text_column, revision, streaming)
    yield from texts(rows, text_column, bad_rows)


def _files(
    rng: random.Random, bad_rows: BadRows, *, paths: list[str], text_column: str, separator: str | None
) -> Iterator[str]:
    found = local_files(paths)
    rng.shuffle(found)
    return _shuffled(
        (text for file in found for text in documents_of_file(file, text_column, separator, bad_rows)), rng
    )


def _shuffled(texts: Iterator[str], rng: random.Random) -> Iterator[str]:
    """The texts in an order that is random within a window of `SHUFFLE_WINDOW`."""
    window: list[str] = []
    for text in texts:
        if len(window) < SHUFFLE_WINDOW:
            window.append(text)
            continue
        place = rng.randrange(SHUFFLE_WINDOW)
        window[place], text = text, window[place]
        yield text
    rng.shuffle(window)
    yield from window
