"""A matrix that a person already has, used instead of activations of a model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from sae_stability.activations.writer import ChunkWriter, NonFinite, shuffled_order, stored_order
from sae_stability.errors import StudyError
from sae_stability.ranges import Count, Index

_READ_ROWS = 1 << 16


def import_matrix(
    *,
    matrix: Path,
    tensor: str | None = None,
    chunk: Index | Literal["heldout"],
    heldout_rows: Index,
    train_rows: Count,
    chunk_rows: Count,
    shard_rows: Count,
    dtype: str = "float32",
    shuffle_seed: Index = 0,
    config_hash: str = "",
    out: Path,
    threads: Count = 1,
) -> dict:
    """Write one chunk of a matrix, or its held-out rows, in the form that `extract` gives activations.

    The first `heldout_rows` rows are held out, the `train_rows` rows after them are for training, and chunk c
    holds training rows [c * chunk_rows, (c + 1) * chunk_rows) in random order. A row's `token_index` is its
    number in the matrix. Only the rows of the chunk are read, 65,536 at a time.

    Args:
        matrix: .npy (read in place), .safetensors or .parquet file (columns of numbers, or one of lists), a row a
            sample.
        tensor: name of the matrix in a .safetensors file that holds several.
        chunk: number of the chunk, or "heldout".
        heldout_rows: rows kept for evaluation, the first of the matrix.
        train_rows: rows for training, those after them.
        chunk_rows: training rows a chunk.
        shard_rows: rows a shard, about.
        dtype: precision of the stored numbers: float32, float16 or bfloat16.
        shuffle_seed: seed of the order of the rows.
        config_hash: fingerprint of what the chunk is made from, recorded in the shards and the manifest.
        out: folder for the chunk.
        threads: processor cores to use.

    Returns:
        The manifest.

    Raises:
        StudyError: no such matrix, too few rows, or a value that is not finite.
    """
    torch.set_num_threads(threads)
    path, source = Path(matrix), open_matrix(Path(matrix), tensor)
    if source.rows < heldout_rows + train_rows:
        raise StudyError(
            f"{path}: {source.rows:,} rows, but {heldout_rows:,} held-out and {train_rows:,} training rows are asked "
            "for; ask for fewer"
        )
    if chunk == "heldout":
        start, stop = 0, heldout_rows
        order = stored_order(np.arange(heldout_rows), -(-heldout_rows // shard_rows))
    else:
        start = heldout_rows + int(chunk) * chunk_rows
        stop = min(start + chunk_rows, heldout_rows + train_rows)
        order = shuffled_order(shuffle_seed, int(chunk), -(-chunk_rows // shard_rows))
    if start >= stop:
        raise StudyError(f"{path}: chunk {chunk} is empty: {train_rows:,} training rows make fewer chunks")
    capacity = np.bincount(order.shard(np.arange(start, stop)), minlength=order.shards)
    metadata = {
        "model": path.name,
        "revision": None,
        "hookpoint": tensor or path.stem,
        "context_length": 1,
        "config_hash": config_hash,
    }
    writer = ChunkWriter(out, source.width, dtype, order, capacity, metadata)
    try:
        with tqdm(total=stop - start, unit=" rows", unit_scale=True, desc=f"import {chunk}") as progress:
            for first, some in source.read(start, stop):
                writer.add(some, np.arange(first, first + len(some)))
                progress.update(len(some))
        return writer.finish({"dropped": {"special": 0, "padding": 0, "sink": 0}, "max_norm": None})
    except NonFinite as error:
        writer.discard()
        hint = "" if error.overflow else "; leave such rows out of the file"
        raise StudyError(f"{path}, row {error.token_index}: the row {error.reason}{hint}") from None
    except BaseException:
        writer.discard()
        raise


class Matrix:
    """A matrix that is read in pieces; `rows` and `width` are its shape."""

    rows: int
    width: int

    def read(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (number of the first row, rows) over [start, stop)."""
        for first in range(start, stop, _READ_ROWS):
            yield first, self.slice(first, min(first + _READ_ROWS, stop))

    def slice(self, start: int, stop: int) -> torch.Tensor:
        """Rows [start, stop), (rows, width)."""
        raise NotImplementedError


class _Npy(Matrix):
    """A .npy file, read in place."""

    def __init__(self, path: Path):
        try:
            self.array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise StudyError(f"{path}: not readable as npy ({error})") from None
        if self.array.dtype.kind not in "fiu":
            raise StudyError(f"{path}: holds {self.array.dtype}, not numbers")
        self.rows, self.width = _two_dimensions(path, self.array.shape)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        some = np.ascontiguousarray(self.array[start:stop])
        return torch.from_numpy(some.astype(np.float64 if some.dtype.itemsize > 4 else np.float32))


class _Safetensors(Matrix):
    """A tensor of a .safetensors file, read in place."""

    def __init__(self, path: Path, tensor: str | None):
        from safetensors import SafetensorError, safe_open

        try:
            self.file = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise StudyError(f"{path}: not readable as safetensors ({error})") from None
        names = list(self.file.keys())
        if tensor is None and len(names) == 1:
            tensor = names[0]
        if tensor is None:
            raise StudyError(f"{path}: holds several tensors ({', '.join(names)}); name one with `tensor`")
        if tensor not in names:
            raise StudyError(f"{path}: no tensor '{tensor}'; allowed: {', '.join(names)}")
        self.tensor = self.file.get_slice(tensor)
        self.rows, self.width = _two_dimensions(path, self.tensor.get_shape())

    def slice(self, start: int, stop: int) -> torch.Tensor:
        return self.tensor[start:stop]


class _Parquet(Matrix):
    """A .parquet file, read a row group at a time."""

    def __init__(self, path: Path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self.file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise StudyError(f"{path}: not readable as Parquet ({error})") from None
        self.path = path
        self.columns = self.file.schema_arrow.names
        self.rows = self.file.metadata.num_rows
        self.width = next(self.read(0, 1))[1].shape[1] if self.rows else 0

    def read(self, start: int, stop: int) -> Iterator[tuple[int, torch.Tensor]]:
        first = 0
        for group in range(self.file.num_row_groups):
            rows = self.file.metadata.row_group(group).num_rows
            low, high = max(start, first), min(stop, first + rows)
            if low < high:
                table = self.file.read_row_group(group, columns=self.columns)
                yield low, self._numbers(table.slice(low - first, high - low), low)
            first += rows

    def _numbers(self, table, first: int) -> torch.Tensor:
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = []
        for name in self.columns:
            column = table.column(name).combine_chunks()
            if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
                if len(pc.unique(pc.list_value_length(column))) != 1 or column.null_count:
                    raise StudyError(f"{self.path}, near row {first}: column '{name}' holds lists of unequal length")
                column = column.flatten()
            if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
                raise StudyError(
                    f"{self.path}: column '{name}' holds {column.type}, not numbers; leave it out of the file"
                )
            columns.append(column.to_numpy(zero_copy_only=False).reshape(len(table), -1))
        return torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float64))


def open_matrix(path: Path, tensor: str | None = None) -> Matrix:
    """Open a matrix of numbers, a row a sample, to be read in pieces.

    Args:
        path: .npy, .safetensors or .parquet file.
        tensor: name of the matrix in a .safetensors file that holds several.

    Raises:
        StudyError: no such file, another format, or no matrix in it.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such file")
    if path.suffix == ".npy":
        return _Npy(path)
    if path.suffix == ".safetensors":
        return _Safetensors(path, tensor)
    if path.suffix == ".parquet":
        return _Parquet(path)
    raise StudyError(f"{path}: unknown format; allowed endings: .npy, .safetensors, .parquet")


def _two_dimensions(path: Path, shape: tuple | list) -> tuple[int, int]:
    if len(shape) != 2:
        raise StudyError(f"{path}: the matrix has the shape {tuple(shape)}; allowed: (rows, width)")
    return int(shape[0]), int(shape[1])
