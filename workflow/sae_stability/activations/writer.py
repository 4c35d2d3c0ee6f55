"""Writing a chunk of activations: rows are shuffled through one file of bins, in bounded memory."""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from sae_stability.errors import StudyError
from sae_stability.files import named, publish, sha256, workplace, write_json
from sae_stability.models.dtypes import torch_dtype
from sae_stability.random_streams import stream

FORMAT = "sae-stability activations 1"
_MANIFEST = "manifest.json"
_STATISTICS_ROWS = 1 << 12  # few enough for torch to sum them on one thread: the bits depend on no number of threads


@dataclass(frozen=True)
class RowOrder:
    """The order of a chunk's rows: a key of their token index sorts them and cuts them into shards.

    The key depends on the token index and a seed only. So the order is the same for every hookpoint and every pass of a
    token set, in whatever order the rows arrive and whichever are dropped.

    Attributes:
        key: token_index (rows,) int64 -> key (rows,) uint64, one to one.
        bounds: smallest key of each shard but the first, (shards - 1,) uint64.
    """

    key: Callable[[np.ndarray], np.ndarray]
    bounds: np.ndarray

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.bounds) + 1

    def shard(self, token_index: np.ndarray) -> np.ndarray:
        """The shard of each row, (rows,) int64."""
        return np.searchsorted(self.bounds, self.key(token_index), side="right")


def shuffled_order(shuffle_seed: int, chunk: int, shards: int) -> RowOrder:
    """A random order: a key mixes the seed and the token index into 64 bits, and shards are equal ranges of keys.

    Shards differ in their number of rows only by the binomial spread (0.1 % at a million rows).
    """
    seed = np.uint64(stream("shuffle", shuffle_seed, chunk))
    bounds = np.array([(shard << 64) // shards for shard in range(1, shards)], dtype=np.uint64)
    return RowOrder(lambda token_index: _mix(_mix(token_index.astype(np.uint64)) ^ seed), bounds)


def stored_order(token_index: np.ndarray, shards: int) -> RowOrder:
    """The order of the token index itself, for held-out rows. `token_index` holds all rows that may come, sorted."""
    starts = [shard * len(token_index) // shards for shard in range(1, shards)]
    return RowOrder(lambda index: index.astype(np.uint64), token_index[starts].astype(np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64-bit numbers that looks random."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True)
class PreparedRows:
    """Rows that `ChunkWriter.prepare` made ready for `ChunkWriter.append`."""

    activations: torch.Tensor  # (rows, width), in the stored dtype, sorted by shard
    token_index: np.ndarray  # (rows,) int64
    counts: np.ndarray  # (shards,) number of rows for each shard
    sum: torch.Tensor  # (width,) float64


class ChunkWriter:
    """Writes the folder of one chunk: shards, then `manifest.json`, without which no reader believes the shards.

    Rows are appended to bins, one a shard, all in one file. `finish` sorts each bin and writes it as a shard. All this
    happens in a place of the writer's own; at the end the files are renamed into the folder, the manifest last. Two
    jobs that write one chunk at once write the same bytes, so the files of either serve both.
    Memory: in `finish`, two copies of a shard and 40 bytes a row.
    Disk: the chunk once, and one more shard while it is being finished.

    Args:
        out: the chunk's folder.
        width: d_model.
        dtype: of the stored activations.
        order: the rows' order.
        capacity: the most rows that each shard may receive, (shards,).
        metadata: for the manifest and the shards' headers (JSON under `sae_stability`): model, revision,
            hookpoint, context_length, config_hash.
    """

    def __init__(self, out: Path, width: int, dtype: str, order: RowOrder, capacity: np.ndarray, metadata: dict):
        self.out, self.width, self.order, self.metadata = Path(out), width, order, metadata
        self.dtype = torch_dtype(dtype)
        self.cleanup = contextlib.ExitStack()
        self.folder = self.cleanup.enter_context(workplace(self.out.resolve()))
        self.row_bytes = width * self.dtype.itemsize
        self.start = np.concatenate([[0], np.cumsum(capacity)]).astype(np.int64)
        self.filled = np.zeros(order.shards, dtype=np.int64)
        self.sum = torch.zeros(width, dtype=torch.float64)
        self.bins, self.index = (os.open(self.folder / name, os.O_RDWR | os.O_CREAT) for name in ("bins", "index"))
        for file in (self.bins, self.index):
            self.cleanup.callback(os.close, file)

    def add(self, activations: torch.Tensor, token_index: np.ndarray) -> None:
        """Append rows: activations (rows, width) of any float dtype, token_index (rows,) int64, in any order.

        Raises:
            NonFinite: a row holds NaN or infinity, in the given or the stored dtype.
        """
        self.append(self.prepare(activations, token_index))

    def prepare(self, activations: torch.Tensor, token_index: np.ndarray) -> PreparedRows:
        """All of `add` but the writing. Several threads may call it at once.

        Raises:
            NonFinite: as `add`.
        """
        stored = activations.to("cpu", self.dtype)
        total = stored.sum(dim=0, dtype=torch.float64)
        # A number that is not finite makes the sum so too, and the sum is checked in a tenth of the time.
        if not torch.isfinite(total).all():
            row = int((~torch.isfinite(stored).all(dim=1)).nonzero()[0])
            raise NonFinite(int(token_index[row]), overflow=bool(torch.isfinite(activations[row]).all()))
        shard = self.order.shard(token_index)
        by_shard = np.argsort(shard, kind="stable")
        return PreparedRows(
            stored[torch.from_numpy(by_shard)],
            token_index[by_shard].astype(np.int64),
            np.bincount(shard, minlength=self.order.shards),
            total,
        )

    def append(self, rows: PreparedRows) -> None:
        """Append what `prepare` returned. The last bits of the manifest's mean depend on the order of these calls."""
        self.sum += rows.sum
        ends = np.cumsum(rows.counts)
        for shard in np.flatnonzero(rows.counts):
            part = slice(ends[shard] - rows.counts[shard], ends[shard])
            place = int(self.start[shard] + self.filled[shard])
            assert place + rows.counts[shard] <= self.start[shard + 1], "more rows than the token file announced"
            with named(self.out):
                _write_all(self.bins, _bytes(rows.activations[part]), place * self.row_bytes)
                _write_all(self.index, rows.token_index[part], place * 8)
        self.filled += rows.counts

    def finish(self, extra: dict) -> dict:
        """Write shards and manifest; `extra` is added to the manifest, which is returned."""
        rows = int(self.filled.sum())
        if rows == 0:
            raise StudyError(f"{self.out}: no rows are left; raise max_norm_multiple")
        mean = self.sum / rows
        statistics = _Statistics(mean)
        # From the last bin to the first, cutting the file behind, so that the disk never holds the chunk twice.
        shards = [self._write_shard(shard, statistics) for shard in reversed(range(self.order.shards))][::-1]
        manifest = {
            "format": FORMAT,
            **self.metadata,
            "dtype": str(self.dtype).removeprefix("torch."),
            "d_model": self.width,
            "rows": rows,
            "mean_squared_norm": statistics.squared_norm / rows,
            "mean_centred_norm": statistics.centred_norm / rows,
            "median_norm": statistics.median_norm,
            **extra,
            "shards": shards,
            "mean": mean.tolist(),
        }
        write_json(self.folder / _MANIFEST, manifest)
        names = [shard["name"] for shard in shards]
        publish(self.folder, self.out, [*names, _MANIFEST])
        for path in self.out.glob("shard-*.safetensors"):
            if path.name not in names:
                path.unlink(missing_ok=True)
        self.discard()
        return manifest

    def _write_shard(self, shard: int, statistics: "_Statistics") -> dict:
        count, start = int(self.filled[shard]), int(self.start[shard])
        token_index = np.empty(count, dtype=np.int64)
        _read_all(self.index, token_index, start * 8)
        by_key = np.argsort(self.order.key(token_index))
        token_index = token_index[by_key]
        bin_ = torch.empty(count, self.width, dtype=self.dtype)
        _read_all(self.bins, _bytes(bin_), start * self.row_bytes)
        for file, size in ((self.bins, self.row_bytes), (self.index, 8)):
            os.ftruncate(file, start * size)
        activations = bin_[torch.from_numpy(by_key)]
        del bin_  # saving may copy
        statistics.add(activations)
        path = self.folder / f"shard-{shard:04d}.safetensors"
        tensors = {"activations": activations, "token_index": torch.from_numpy(token_index)}
        # One entry, because safetensors writes several in an order that changes from run to run.
        header = json.dumps({**self.metadata, "dtype": str(self.dtype).removeprefix("torch.")})
        with named(self.out / path.name):
            save_file(tensors, path, {"sae_stability": header})
        return {"name": path.name, "rows": count, "sha256": sha256(path)}

    def discard(self) -> None:
        """Close and remove all that is not in the folder yet."""
        self.cleanup.close()


class NonFinite(Exception):
    """The row of `token_index` is not finite, or (`overflow`) too large for the stored dtype."""

    def __init__(self, token_index: int, overflow: bool):
        super().__init__(token_index)
        self.token_index, self.overflow = token_index, overflow
        self.reason = (
            "is too large for the stored dtype; choose bfloat16 or float32" if overflow else "holds NaN or infinity"
        )

    def at(self, hookpoint: str, context_length: int) -> str:
        """The error message, with the place of the token."""
        block, position = divmod(self.token_index, context_length)
        hint = "" if self.overflow else "; a wider dtype of the model may help"
        return f"hookpoint '{hookpoint}', block {block}, position {position}: the activation {self.reason}{hint}"


class _Statistics:
    """Sums over the stored rows, in float64, for the manifest; the rows' mean is known beforehand."""

    def __init__(self, mean: torch.Tensor):
        self.mean = mean.float()
        self.squared_norm = 0.0
        self.centred_norm = 0.0
        self.median_norm = 0.0

    def add(self, activations: torch.Tensor) -> None:
        """Add a shard. The median is that of the last shard added, as each is a random sample of a shuffled chunk."""
        norms = []
        for some in activations.split(_STATISTICS_ROWS):
            norms.append(some.float().norm(dim=1))
            self.squared_norm += float(norms[-1].double().square().sum())
            self.centred_norm += float((some.float() - self.mean).norm(dim=1).double().sum())
        if norms:
            self.median_norm = float(torch.cat(norms).median())


def _bytes(rows: torch.Tensor) -> np.ndarray:
    """The memory of a contiguous tensor as bytes, because numpy knows no bfloat16."""
    return rows.view(torch.uint8).numpy()


def _write_all(file: int, rows: np.ndarray, offset: int) -> None:
    data = memoryview(np.ascontiguousarray(rows)).cast("B")
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _read_all(file: int, rows: np.ndarray, offset: int) -> None:
    if rows.size == 0:
        return
    data = memoryview(rows).cast("B")
    while data:
        read = os.preadv(file, [data], offset)
        if read == 0:
            raise StudyError("the temporary activation file is shorter than what was written; is the disk full?")
        data, offset = data[read:], offset + read
