"""Documents from local files, one string at a time."""

import bz2
import csv
import glob
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from sae_stability.corpus.bad_rows import BYTE_ORDER_MARK, BadRows
from sae_stability.errors import StudyError, one_line

_PIECE = 1 << 20
_ROWS = 1000
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MEND = "mend it, fetch it again, or take it off the list"

Row = tuple[str, object]  # where it is ("corpus.jsonl, line 7"), and the value of its text column


def local_files(paths: list[str]) -> list[Path]:
    """The files that paths and patterns match, each once, sorted.

    Raises:
        StudyError: a pattern that no file matches, or a file of a format that is not read.
    """
    return sorted({file for pattern in paths for file in _matches(pattern)})


def documents_of_file(path: Path, text_column: str, separator: str | None, bad_rows: BadRows) -> Iterator[str]:
    """Yield the documents of one file.

    Args:
        path: `.txt` and `.md`: one document, or one between two separators; `.jsonl`, `.json`, `.csv`, `.tsv`: one a
            line; `.parquet`: one a row. All but Parquet may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`).
        text_column: field or column of the text.
        separator: what stands between documents of a text file; None: the file is one document.
        bad_rows: what is done with rows that hold no text.

    Raises:
        StudyError: the file cannot be read, has no such column, or has a bad row where that is an error.
    """
    kind, _ = _endings(path)
    if kind in _WHOLE:
        pieces = _pieces(path)
        parts = enumerate(_split(pieces, separator), start=1) if separator else [(1, "".join(pieces))]
        rows = ((f"{path}, document {number}" if separator else str(path), part) for number, part in parts)
    else:
        rows = _ROW_READERS[kind](path, text_column, bad_rows)
    yield from texts(rows, text_column, bad_rows)


def texts(rows: Iterable[Row], text_column: str, bad_rows: BadRows) -> Iterator[str]:
    """The texts of rows, without nulls, byte order marks and what `bad_rows` leaves out.

    Raises:
        StudyError: a value that is no text, where that is an error.
    """
    for where, value in rows:
        if isinstance(value, str):
            text = bad_rows.text(where, value)
            if text is not None:
                yield text.removeprefix(BYTE_ORDER_MARK)
        elif value is not None:
            fault = f"column '{text_column}' holds {type(value).__name__}, not text"
            bad_rows.skip(where, fault, "name another column with text_column")


def no_column(text_column: str, columns: Iterable[object]) -> str:
    """What to say of rows that have no such column."""
    return f"no text in column '{text_column}'; columns: {', '.join(map(str, columns)) or 'none'}"


def _matches(pattern: str) -> list[Path]:
    wanted = Path(pattern).expanduser()
    # Files and folders may be called "notes [2024]": brackets that match nothing as a pattern are taken as they stand.
    names = glob.glob(str(wanted), recursive=True) or glob.glob(str(wanted).replace("[", "[[]"), recursive=True)
    files = [wanted] if wanted.is_file() else [Path(name) for name in names if Path(name).is_file()]
    if not files:
        raise StudyError(f"corpus paths: no file matches '{pattern}'; correct the pattern or add files")
    for file in files:
        kind, packed = _endings(file)
        if kind not in (*_WHOLE, *_ROW_READERS) or (packed and kind == ".parquet"):
            raise StudyError(
                f"corpus paths: {file} is of no known format; allowed endings: "
                f"{', '.join((*_WHOLE, *_ROW_READERS))}; after all but .parquet: {', '.join(filter(None, _OPENERS))}"
            )
    return files


def _endings(path: Path) -> tuple[str, str]:
    """The ending that says what a file holds, and the one that says how it is compressed, lower case; or ""."""
    packed = path.suffix.lower() if path.suffix.lower() in _OPENERS else ""
    return (Path(path.stem) if packed else path).suffix.lower(), packed


def _open(path: Path) -> IO[str]:
    """The file as text, decompressed. Bytes that are no UTF-8 become lone surrogates, which `BadRows` looks for."""
    opened = _OPENERS[_endings(path)[1]]
    with opened(path) as file:
        start = file.read(2)
    if start in _UTF16 or b"\0" in start:
        raise StudyError(f"{path}: not UTF-8 text (its first bytes say UTF-16); convert it to UTF-8")
    return io.TextIOWrapper(opened(path), encoding="utf-8-sig", errors="surrogateescape")


def _open_plain(path: Path) -> IO[bytes]:
    return io.BufferedReader(io.FileIO(path))


def _open_zstd(path: Path) -> IO[bytes]:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")


def _pieces(path: Path) -> Iterator[str]:
    """The text of a file, a megabyte at a time."""
    with one_line(f"{path}: cannot be read", _MEND), _open(path) as file:
        while piece := file.read(_PIECE):
            yield piece


def _split(pieces: Iterable[str], separator: str) -> Iterator[str]:
    """The parts of a text between separators that hold more than white space."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split(separator)
        yield from (part for part in whole if part.strip())
    if rest.strip():
        yield rest


def _json_rows(path: Path, text_column: str, bad_rows: BadRows) -> Iterator[Row]:
    """JSON a line, or one JSON array of objects."""
    with one_line(f"{path}: cannot be read", _MEND), _open(path) as lines:
        rows = (
            _array(path, lines) if _endings(path)[0] == ".json" and _is_array(path) else _parsed(path, lines, bad_rows)
        )
        yield from _columns(rows, text_column, bad_rows)


def _is_array(path: Path) -> bool:
    with _open(path) as lines:
        return next((line for line in lines if line.strip()), "").lstrip(f"{BYTE_ORDER_MARK} \t").startswith("[")


def _array(path: Path, lines: IO[str]) -> Iterator[Row]:
    for number, item in enumerate(json.load(lines), start=1):
        yield f"{path}, item {number}", item


def _parsed(path: Path, lines: Iterable[str], bad_rows: BadRows) -> Iterator[Row]:
    """The value of each line that is JSON. Files that were joined may have a byte order mark in any line."""
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        valid = bad_rows.text(where, line.removeprefix(BYTE_ORDER_MARK))
        if valid is None or not valid.strip():
            continue
        try:
            yield where, json.loads(valid)
        except (ValueError, RecursionError) as error:
            bad_rows.skip(where, f"not JSON ({error})")


def _csv_rows(path: Path, text_column: str, bad_rows: BadRows) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # by default a document may have no more than 128 KB
    with one_line(f"{path}: cannot be read", _MEND), _open(path) as lines:
        lines.reconfigure(newline="")
        # Strict: a quotation mark that is never closed would make one document of all rows after it.
        table = csv.DictReader(lines, delimiter="\t" if _endings(path)[0] == ".tsv" else ",", strict=True)
        try:
            if text_column not in (table.fieldnames or []):
                raise StudyError(f"{path}: {no_column(text_column, table.fieldnames or [])}")
            for row in table:
                yield f"{path}, line {table.line_num}", row[text_column]
        except csv.Error as error:
            raise StudyError(
                f"{path}, line {table.line_num}: not CSV ({error}); put text that holds quotation marks in quotation "
                "marks and double those inside"
            ) from None


def _columns(rows: Iterable[Row], text_column: str, bad_rows: BadRows) -> Iterator[Row]:
    """The text column of rows that are JSON objects."""
    for where, row in rows:
        if isinstance(row, dict) and text_column in row:
            yield where, row[text_column]
        else:
            bad_rows.skip(where, no_column(text_column, row if isinstance(row, dict) else []), "name a column it has")


def _parquet_rows(path: Path, text_column: str, _bad_rows: BadRows) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with one_line(f"{path}: not readable as Parquet", _MEND):
        file = pq.ParquetFile(path)
        if text_column not in file.schema_arrow.names:
            raise StudyError(f"{path}: {no_column(text_column, file.schema_arrow.names)}")
        for batch in file.iter_batches(batch_size=_ROWS, columns=[text_column]):
            column = batch.column(0)
            is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            # pyarrow would stop at the first text that is no UTF-8.
            values = column.cast(pa.large_binary()).to_pylist() if is_text else column.to_pylist()
            for value in values:
                number += 1
                if is_text and value is not None:
                    value = value.decode("utf-8", "surrogateescape")
                yield f"{path}, row {number}", value


_WHOLE = (".txt", ".md")
_ROW_READERS: dict[str, Callable[[Path, str, BadRows], Iterator[Row]]] = {
    ".jsonl": _json_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".parquet": _parquet_rows,
}
# How a file is compressed -> how it is opened.
_OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    "": _open_plain,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstd,
}
