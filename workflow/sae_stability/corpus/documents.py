"""Documents of a corpus, one string at a time, in an order that the config fixes."""

import glob
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from sae_stability.corpus.docstrings import docstrings
from sae_stability.errors import StudyError
from sae_stability.seeds import stream

# Local files are shuffled through a window, so that a corpus larger than memory can be read.
SHUFFLE_WINDOW = 20_000


def documents(spec: dict, seed: int) -> Iterator[str]:
    """Yield the documents of a corpus, always the same ones in the same order.

    Args:
        spec: one of
            `{"kind": "docstrings", "packages": [...], "min_characters": 200}`: docstrings of installed
            packages, shuffled by `seed`;
            `{"kind": "hub", "name": ..., "config": None, "split": "train", "text_column": "text",
            "revision": None, "streaming": False}`: a hub data set (or a local folder of data files), in the
            data set's own order;
            `{"kind": "files", "paths": [...], "text_column": "text"}`: files or globs; `.txt` and `.md` are one
            document a file, `.jsonl` one a line, `.parquet` one a row. Files are shuffled by `seed`, then
            documents within a window of 20,000.
        seed: the corpus seed.

    Raises:
        StudyError: an unknown kind, a package, file, data set or text column that does not exist.
    """
    kinds: dict[str, Callable[..., Iterator[str]]] = {"docstrings": _docstrings, "hub": _hub, "files": _files}
    kind = spec.get("kind")
    if kind not in kinds:
        raise StudyError(f"corpus kind '{kind}' is unknown; allowed: {', '.join(kinds)}")
    rng = random.Random(stream("corpus", seed))
    return kinds[kind](rng, **{key: value for key, value in spec.items() if key != "kind"})


def _docstrings(rng: random.Random, packages: list[str], min_characters: int = 200) -> Iterator[str]:
    texts = docstrings(packages, min_characters)
    rng.shuffle(texts)
    yield from texts


def _hub(
    _rng: random.Random,
    name: str,
    config: str | None = None,
    split: str = "train",
    text_column: str = "text",
    revision: str | None = None,
    streaming: bool = False,
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
    yield from (row[text_column] for row in data.select_columns([text_column]))


def local_files(paths: list[str]) -> list[Path]:
    """The files that paths and patterns stand for, each once, sorted.

    Raises:
        StudyError: a pattern that no file matches, or a file of a format that is not read.
    """
    return sorted({file for pattern in paths for file in _matches(pattern)})


def _files(rng: random.Random, paths: list[str], text_column: str = "text") -> Iterator[str]:
    found = local_files(paths)
    rng.shuffle(found)
    return _shuffled((text for file in found for text in _documents_of_file(file, text_column)), rng)


def _matches(pattern: str) -> list[Path]:
    files = [Path(name) for name in glob.glob(str(Path(pattern).expanduser()), recursive=True) if Path(name).is_file()]
    if not files:
        raise StudyError(f"corpus paths: no file matches '{pattern}'")
    for file in files:
        if file.suffix not in _READERS:
            raise StudyError(f"corpus paths: {file} is of no known format; allowed endings: {', '.join(_READERS)}")
    return files


def _shuffled(texts: Iterator[str], rng: random.Random) -> Iterator[str]:
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


def _json_lines(path: Path, text_column: str) -> Iterator[str]:
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise StudyError(f"{path}, line {number}: not JSON ({error})") from None
            text = row.get(text_column) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise _no_column(f"{path}, line {number}", text_column, list(row) if isinstance(row, dict) else [])
            yield text


def _parquet_rows(path: Path, text_column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path}: not readable as Parquet ({error})") from None
    if text_column not in file.schema_arrow.names:
        raise _no_column(str(path), text_column, file.schema_arrow.names)
    for batch in file.iter_batches(batch_size=1000, columns=[text_column]):
        yield from (text for text in batch.column(0).to_pylist() if text is not None)


def _no_column(where: str, text_column: str, columns: list[str]) -> StudyError:
    return StudyError(f"{where}: no text in column '{text_column}'; columns: {', '.join(columns) or 'none'}")


_READERS = {".txt": _whole_file, ".md": _whole_file, ".jsonl": _json_lines, ".parquet": _parquet_rows}
