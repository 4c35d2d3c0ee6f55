"""Read and write files. Writes are atomic (temporary name, fsync, rename): no file is ever half written."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sae_stability.errors import StudyError


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`.

    An exception inside the block removes the temporary file and leaves `path` as it was.

    Raises:
        StudyError: the file cannot be written, and the writer's own error does not name it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, because some writers choose the format by it, or append one of their own.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        with named(path):
            yield temporary
            _sync_and_rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_alone(path: str | os.PathLike) -> Iterator[Path]:
    """Like `atomic`, for a large file with one writer at a time. First removes what a killed writer left behind.

    The temporary path is in a folder of its own, because safetensors first writes to a random name beside the path that
    it is given.

    Raises:
        StudyError: as for `atomic`.
    """
    path = Path(path)
    discard(path)
    folder = _unfinished(path)
    folder.mkdir(parents=True)
    try:
        with named(path):
            yield folder / path.name
            _sync_and_rename(folder / path.name, path)
    finally:
        discard(path)


def discard(path: str | os.PathLike) -> None:
    """Remove what an interrupted `atomic_alone(path)` left behind, if anything."""
    folder = _unfinished(Path(path))
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    """The folder in which `atomic_alone` writes the file before it is renamed to `path`."""
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def named(path: str | os.PathLike) -> Iterator[None]:
    """Name the file when a write fails and the error of the system or of safetensors does not name it.

    Raises:
        StudyError: in place of such an error."""
    try:
        yield
    except Exception as error:
        from safetensors import SafetensorError  # most verbs need no tensors

        if isinstance(error, SafetensorError) or (isinstance(error, OSError) and not error.filename):
            raise StudyError(f"{path}: cannot be written ({error})") from None
        raise


def _sync_and_rename(temporary: Path, path: Path) -> None:
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write `value` as indented JSON, atomically. Keys keep their order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def read_json(path: str | os.PathLike) -> dict:
    """Read a JSON file.

    Raises:
        StudyError: the file is missing or damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise StudyError(f"{path}: not readable as JSON ({error}); delete it and run again") from None


def check_made_from(file: Path, expected: str | None) -> None:
    """Refuse a JSON result (a manifest, a cfg.json) that was made from other settings or data than a job expects.

    Raises:
        StudyError: its `config_hash` is not `expected`. None expects nothing.
    """
    if expected is not None and (recorded := read_json(file).get("config_hash")) != expected:
        raise StudyError(
            f"{file}: made from other settings or data ({recorded}, expected {expected}); delete {Path(file).parent} "
            "and run again"
        )


def sha256(path: str | os.PathLike) -> str:
    """The file's SHA-256 as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_table(path: str | os.PathLike, table, metadata: dict | None = None) -> None:
    """Write a pandas DataFrame or an Arrow table as Parquet, atomically, with `metadata` (JSON) in its schema.

    The same table always gives the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({"sae_stability": json.dumps(metadata or {})})
    with atomic(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def read_table(path: str | os.PathLike, columns: list[str] | None = None, filters: list[tuple] | None = None):
    """Read a table written by `write_table`: (DataFrame, metadata); of its rows those that pass pyarrow's `filters`.

    Raises:
        StudyError: the file is missing or not readable as Parquet.
    """
    arrow = _read_parquet("read_table", path, columns=columns, filters=filters)
    return arrow.to_pandas(), _metadata(arrow.schema)


def read_metadata(path: str | os.PathLike) -> dict:
    """The metadata of a table written by `write_table`; reads no rows and needs no pandas. Raises as `read_table`."""
    return _metadata(_read_parquet("read_schema", path))


def read_columns(path: str | os.PathLike) -> list[str]:
    """The names of a table's columns. Raises as `read_table`."""
    return _read_parquet("read_schema", path).names


def _read_parquet(reader: str, path: str | os.PathLike, **options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return getattr(pq, reader)(path, **options)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path}: not readable as Parquet ({error}); delete it and run again") from None


def _metadata(schema) -> dict:
    return json.loads((schema.metadata or {}).get(b"sae_stability", b"{}"))
