"""Read and write files.

Writes are atomic (a place of the job's own, fsync, rename): no file is ever half written. What is written carries a
digest of all its bytes, and readers check it. In JSON and Parquet the digest stands in the file itself, where
`UNSEALED` stood when it was taken.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sae_stability.errors import StudyError

DIGEST = "digest"
"""The key of a file's digest in JSON and in the metadata of Parquet."""
_SEAL = b"sha256:"
UNSEALED = _SEAL + b"0" * 64
"""What stands in the place of a file's digest when it is taken."""
_LOCK = ".lock"


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path; on success fsync it and rename it to `path`.

    The temporary path lies in a `workplace`, so jobs that write the same file at once do not meet: the last one to
    finish gives the file. An exception inside the block leaves `path` as it was.

    Raises:
        StudyError: the file cannot be written, and the writer's own error does not name it.
    """
    path = Path(path)
    with workplace(path) as folder, named(path):
        yield folder / path.name
        move(folder / path.name, path)


@contextlib.contextmanager
def workplace(target: str | os.PathLike) -> Iterator[Path]:
    """Yield a new folder beside `target`, to write it in; at the end the folder is removed.

    What killed processes left behind of theirs is removed first. A folder in use is told by the lock that its process
    holds, and is let alone.
    """
    target = Path(target).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_workplaces(target)
    folder, lock = _made(target)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _made(target: Path) -> tuple[Path, int]:
    """A new workplace and its locked file. Another job may take it for left behind before it is locked: then again."""
    while True:
        folder = target.with_name(f"{_prefix(target)}{secrets.token_hex(6)}.tmp")
        folder.mkdir()
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:
            pass  # this file system has no locks: nothing on it is taken for left behind
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)


def clear_workplaces(target: str | os.PathLike) -> None:
    """Remove the workplaces of `target` that killed processes left behind."""
    target = Path(target).absolute()
    for folder in target.parent.glob(f"{glob.escape(_prefix(target))}*.tmp"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()  # empty: its process was killed when it made or removed it, or is just doing so
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
        except OSError:
            pass  # in use
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a workplace, its lock last: one without a lock is empty."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _prefix(target: Path) -> str:
    """What the names of the workplaces of a target begin with."""
    return f".{target.name}."


def move(written: Path, target: Path) -> None:
    """Flush a file in a workplace to the disk and rename it to `target`.

    It gets the mode that any new file gets: safetensors makes files that only their owner can read.
    """
    with open(written, "rb+") as file:
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), (written.parent / _LOCK).stat().st_mode & 0o666)
    os.replace(written, target)


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


def publish(folder: Path, out: Path, names: Sequence[str]) -> None:
    """Move files from a workplace into a folder. The last one makes the others count, and comes last.

    Two jobs that make the same results at once make the same bytes, so the files of either serve both.
    """
    out.mkdir(parents=True, exist_ok=True)
    there = out / names[-1]
    with contextlib.suppress(FileNotFoundError):
        if there.read_bytes() != (folder / names[-1]).read_bytes():
            there.unlink()  # it tells of other files than those to come
    for name in names:
        with named(out / name):
            move(folder / name, out / name)


def seal(path: str | os.PathLike) -> None:
    """Write the digest of a file into it, in the place of the last `UNSEALED` that it holds."""
    with open(path, "rb+") as file:
        content = file.read()
        place = content.rindex(UNSEALED)
        file.seek(place)
        file.write(_SEAL + hashlib.sha256(content).hexdigest().encode())


def read_sealed(path: str | os.PathLike) -> bytes:
    """The content of a sealed file, after a check of its digest.

    Raises:
        StudyError: there is no such file, it cannot be read, it has no digest, or it is not what was sealed.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
    place = content.rfind(_SEAL)
    if place < 0:
        raise StudyError(f"{path}: holds no digest, or is damaged; delete it and run again")
    digest = hashlib.sha256(memoryview(content)[:place])
    digest.update(UNSEALED)
    digest.update(memoryview(content)[place + len(UNSEALED) :])
    if content[place : place + len(UNSEALED)] != _SEAL + digest.hexdigest().encode():
        raise StudyError(f"{path}: damaged or changed, its digest does not fit; delete it and run again")
    return content


def write_json(path: str | os.PathLike, value: dict) -> None:
    """Write a mapping as indented JSON with a digest, atomically. Keys keep their order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value | {DIGEST: UNSEALED.decode()}, indent=1) + "\n")
        seal(temporary)


def read_json(path: str | os.PathLike) -> dict:
    """Read the mapping that `write_json` wrote, without the digest. One that a person wrote needs no digest.

    Raises:
        StudyError: the file is missing or damaged.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise StudyError(f"{path}: not readable as JSON ({error}); delete it and run again") from None
    if not isinstance(value, dict) or DIGEST not in value:
        return value
    read_sealed(path)
    del value[DIGEST]
    return value


def remembered(path: str | os.PathLike) -> dict:
    """What `write_json` wrote to save work; nothing if the file is missing or damaged, and the work is done again."""
    try:
        return read_json(path)
    except StudyError:
        return {}


def write_plain_json(path: str | os.PathLike, value: object) -> None:
    """Write `value` as indented JSON, atomically, for readers that know of no digest."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


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


def write_record(*, file: Sequence[Path], config_hash: str = "", out: Path) -> None:
    """Write a record beside files that have no room for one: what they were made from, and their digests.

    Args:
        file: a file; once for each.
        config_hash: fingerprint of what they were made from.
        out: file for the record, in their folder.
    """
    write_json(out, {"config_hash": config_hash, "sha256": {Path(path).name: sha256(path) for path in file}})


def verify(*, file: Sequence[Path]) -> None:
    """Check that results are as they were written.

    Args:
        file: a table (Parquet) or JSON file; once for each. The files of which a record, a manifest or a table's
            metadata state the digest are checked too.

    Raises:
        StudyError: the first file that is missing, damaged or changed.
    """
    for path in map(Path, file):
        if path.suffix == ".parquet":
            read_sealed(path)
            csv = read_metadata(path).get("csv_sha256")
            digests = {path.with_suffix(".csv").name: csv} if csv else {}
        else:
            digests = read_json(path).get("sha256", {})
        for name, digest in digests.items():
            beside = path.with_name(name)
            if not beside.is_file() or sha256(beside) != digest:
                raise StudyError(f"{beside}: missing, damaged or changed; delete it and run again")


def sha256(path: str | os.PathLike) -> str:
    """The file's SHA-256 as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_table(path: str | os.PathLike, table, metadata: dict | None = None) -> None:
    """Write a pandas DataFrame or an Arrow table as Parquet with a digest, atomically.

    `metadata` goes into its schema, as JSON. The same table always gives the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({"sae_stability": json.dumps(metadata or {})})
    with atomic(path) as temporary:
        with pq.ParquetWriter(temporary, arrow.schema, compression="zstd") as writer:
            writer.write_table(arrow)
            # Beside the schema's metadata: those stand in the file twice.
            writer.add_key_value_metadata({DIGEST: UNSEALED.decode()})
        seal(temporary)


def read_table(path: str | os.PathLike, columns: list[str] | None = None, filters: list[tuple] | None = None):
    """Read a table written by `write_table`: (DataFrame, metadata); of its rows those that pass pyarrow's `filters`.

    Raises:
        StudyError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pq.read_table(pa.BufferReader(read_sealed(path)), columns=columns, filters=filters)
    return arrow.to_pandas(), _metadata(arrow.schema)


def read_metadata(path: str | os.PathLike) -> dict:
    """The metadata of a table written by `write_table`; reads and checks no rows, and needs no pandas.

    Raises:
        StudyError: the file is missing, or its metadata are not readable.
    """
    return _metadata(_schema(path))


def read_columns(path: str | os.PathLike) -> list[str]:
    """The names of a table's columns. Raises as `read_metadata`."""
    return _schema(path).names


def _schema(path: str | os.PathLike):
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file makes the reader raise errors of many kinds
        raise StudyError(f"{path}: not readable as Parquet ({error}); delete it and run again") from None


def _metadata(schema) -> dict:
    return json.loads((schema.metadata or {}).get(b"sae_stability", b"{}"))
