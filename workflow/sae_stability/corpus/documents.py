"""The documents of a corpus, one string at a time, in an order that the study fixes."""

import glob
import inspect
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sae_stability.corpus.docstrings import docstrings, find_package
from sae_stability.errors import StudyError
from sae_stability.random_streams import stream

# Local files are shuffled through a window, so that a corpus larger than memory can be read.
SHUFFLE_WINDOW = 20_000

DEFAULTS: dict[str, dict] = {
    "docstrings": {"min_characters": 200},
    "hub": {"config": None, "split": "train", "text_column": "text", "revision": None, "streaming": True},
    "files": {"text_column": "text"},
}
"""Kind of corpus -> the settings that may be left out, with their values. The schema of a study is filled with them."""


def documents(spec: dict, seed: int) -> Iterator[str]:
    """Yield the documents of a corpus: for the same arguments always the same ones, in the same order.

    Args:
        spec: `kind` and the settings of that kind; those in `DEFAULTS` may be left out:
            `{"kind": "docstrings", "packages", "min_characters"}`: docstrings of installed packages, shuffled by
            `seed`;
            `{"kind": "hub", "name", "config", "split", "text_column", "revision", "streaming"}`: a data set on the hub
            (or a local folder of data files), in its own order;
            `{"kind": "files", "paths", "text_column"}`: files or patterns; `.txt` and `.md` are one document a file,
            `.jsonl` one a line, `.parquet` one a row. Files are shuffled by `seed`, then documents within a window of
            20,000.
        seed: the corpus seed.

    Raises:
        StudyError: an unknown kind; a setting that is unknown or missing; a package, file, data set or text column
            that does not exist; a value in that column that is neither text nor null. A null is no document.
    """
    kinds: dict[str, Callable[..., Iterator[str]]] = {"docstrings": _docstrings, "hub": _hub, "files": _files}
    kind = spec.get("kind")
    if kind not in kinds:
        raise StudyError(f"corpus kind '{kind}' is unknown; allowed: {', '.join(kinds)}")
    rng = random.Random(stream("corpus", seed))
    settings = DEFAULTS[kind] | {key: value for key, value in spec.items() if key != "kind"}
    try:
        inspect.signature(kinds[kind]).bind(rng, **settings)
    except TypeError as error:
        raise StudyError(f"corpus of kind '{kind}': {error}") from None
    return kinds[kind](rng, **settings)


def check_documents(spec: dict) -> None:
    """Refuse local files and packages that are not there. Nothing is read, and the hub is not asked.

    Raises:
        StudyError: a pattern that no file matches, a file of unknown format, or a package that is not installed.
    """
    if spec["kind"] == "files":
        local_files(spec["paths"])
    elif spec["kind"] == "docstrings":
        for package in spec["packages"]:
            find_package(package)


def _docstrings(rng: random.Random, *, packages: list[str], min_characters: int) -> Iterator[str]:
    texts = docstrings(packages, min_characters)
    rng.shuffle(texts)
    yield from texts


def _hub(
    _rng: random.Random,
    *,
    name: str,
    config: str | None,
    split: str,
    text_column: str,
    revision: str | None,
    streaming: bool,
) -> Iterator[str]:
    import datasets

    try:
        data = datasets.load_dataset(name, config, split=split, revision=revision, streaming=streaming)
        columns = data.column_names or list(next(iter(data), {}))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StudyError(
            f"corpus: data set '{name}' (config {config}, split {split}) cannot be read: {reason}"
        ) from None
    if text_column not in columns:
        raise _no_column(f"data set '{name}'", text_column, columns)
    values = (row[text_column] for row in data.select_columns([text_column]))
    yield from _texts(values, f"data set '{name}', row", text_column)


def local_files(paths: list[str]) -> list[Path]:
    """The files that paths and patterns match, each once, sorted.

    Raises:
        StudyError: a pattern that no file matches, or a file of a format that is not read.
    """
    return sorted({file for pattern in paths for file in _matches(pattern)})


def _files(rng: random.Random, *, paths: list[str], text_column: str) -> Iterator[str]:
    found = local_files(paths)
    rng.shuffle(found)
    return _shuffled((text for file in found for text in _documents_of_file(file, text_column)), rng)


def _matches(pattern: str) -> list[Path]:
    wanted = str(Path(pattern).expanduser())
    # A folder may be called "notes [2024]": brackets that match nothing as a pattern are taken as they stand.
    names = glob.glob(wanted, recursive=True) or glob.glob(wanted.replace("[", "[[]"), recursive=True)
    files = [Path(name) for name in names if Path(name).is_file()]
    if not files:
        raise StudyError(f"corpus paths: no file matches '{pattern}'; correct the pattern or add files")
    for file in files:
        if file.suffix not in _READERS:
            raise StudyError(f"corpus paths: {file} is of no known format; allowed endings: {', '.join(_READERS)}")
    return files


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


def _documents_of_file(path: Path, text_column: str) -> Iterator[str]:
    try:
        yield from _READERS[path.suffix](path, text_column)
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: not UTF-8 text ({error})") from None


def _whole_file(path: Path, _text_column: str) -> Iterator[str]:
    yield path.read_text(encoding="utf-8")


def _texts(values: Iterable[object], where: str, text_column: str) -> Iterator[str]:
    """The values of a text column, without nulls. In errors, the number of the row or line follows `where`."""
    for number, value in enumerate(values, start=1):
        if isinstance(value, str):
            yield value
        elif value is not None:
            raise StudyError(
                f"{where} {number}: column '{text_column}' holds {type(value).__name__}, not text; "
                "name another column with text_column"
            )


def _json_lines(path: Path, text_column: str) -> Iterator[str]:
    with open(path, encoding="utf-8") as lines:
        values = (_json_value(line, f"{path}, line {n}", text_column) for n, line in enumerate(lines, start=1))
        yield from _texts(values, f"{path}, line", text_column)


def _json_value(line: str, where: str, text_column: str) -> object:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except ValueError as error:
        raise StudyError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict) or text_column not in row:
        raise _no_column(where, text_column, list(row) if isinstance(row, dict) else [])
    return row[text_column]


def _parquet_rows(path: Path, text_column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path}: not readable as Parquet ({error})") from None
    if text_column not in file.schema_arrow.names:
        raise _no_column(str(path), text_column, file.schema_arrow.names)
    batches = file.iter_batches(batch_size=1000, columns=[text_column])
    values = (value for batch in batches for value in batch.column(0).to_pylist())
    yield from _texts(values, f"{path}, row", text_column)


def _no_column(where: str, text_column: str, columns: list[str]) -> StudyError:
    return StudyError(f"{where}: no text in column '{text_column}'; columns: {', '.join(columns) or 'none'}")


_READERS = {".txt": _whole_file, ".md": _whole_file, ".jsonl": _json_lines, ".parquet": _parquet_rows}
