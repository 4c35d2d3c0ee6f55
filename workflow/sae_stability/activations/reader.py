"""Reading chunks of activations: verified, in a fixed order, one or a few shards at a time."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from sae_stability.devices import cores
from sae_stability.errors import StudyError
from sae_stability.files import read_json, sha256
from sae_stability.models.dtypes import torch_dtype
from sae_stability.random_streams import stream
from sae_stability.threads import in_order

_NUMBER = int | float
_FIELDS = {"format": str, "hookpoint": str, "dtype": str, "d_model": int, "rows": int}
_FIELDS |= {"mean": list, "mean_centred_norm": _NUMBER, "shards": list}
_SHARD_FIELDS = {"name": str, "rows": int, "sha256": str}
_STORED = (torch.float32, torch.float16, torch.bfloat16)
CPU = torch.device("cpu")
# A GPU uses rows up faster than one thread verifies and copies them (about 1 GB/s, most of it for verifying). So up to
# this many shards are read ahead, and no more than this many bytes.
_DEVICE_SHARDS, _DEVICE_BYTES = 16, 4 << 30
_PINNED_BYTES = 8 << 20  # copied at a time: pinning more would hold up the driver
_verified: set[tuple] = set()  # shards that this process has verified, by path, size and time


class Chunk:
    """One chunk of activations, or the held-out rows.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` holds.
        rows: number of rows.
        left_out: number of rows that were left out for their norm, or because their latent never fires.
        d_model: width of the rows.
        mean: mean row, (d_model,) float32.
        scale: mean norm of the centred rows over sqrt(d_model); (x - mean) / scale has a mean norm of sqrt(d_model).
        shard_rows: rows of each shard.

    Raises:
        StudyError: there is no manifest, or it is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = read_manifest(self.path / "manifest.json")
        self.rows: int = self.manifest["rows"]
        dropped = self.manifest.get("dropped", {"sink": 0})
        self.left_out: int = dropped["sink"] + dropped.get("dead", 0)
        self.d_model: int = self.manifest["d_model"]
        self.mean = torch.tensor(self.manifest["mean"], dtype=torch.float32)
        self.scale = self.manifest["mean_centred_norm"] / self.d_model**0.5
        self.shard_rows: list[int] = [shard["rows"] for shard in self.manifest["shards"]]

    def shard(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations (rows, d_model) in the stored dtype and token_index (rows,) int64 of a shard.

        Raises:
            StudyError: the file is missing or is not the one that the manifest describes.
        """
        entry = self.manifest["shards"][number]
        path = self.path / entry["name"]
        try:
            self._verify(path, entry["sha256"])
            with safe_open(path, framework="pt") as file:
                activations, token_index = file.get_tensor("activations"), file.get_tensor("token_index")
        except FileNotFoundError:
            raise _damaged(path, "is missing") from None
        except (SafetensorError, OSError) as error:
            raise _damaged(path, f"cannot be read ({error})") from None
        if activations.shape != (entry["rows"], self.d_model) or token_index.shape != (entry["rows"],):
            raise _damaged(path, f"has the shape {tuple(activations.shape)}")
        if activations.dtype not in _STORED or token_index.dtype != torch.int64:
            raise _damaged(path, f"holds {activations.dtype} and {token_index.dtype}")
        return activations, token_index

    def _verify(self, path: Path, expected: str) -> None:
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns, expected)
        if key not in _verified:
            if sha256(path) != expected:
                raise _damaged(path, "is not the file that its manifest describes (sha256 differs)")
            _verified.add(key)


def read_manifest(path: str | Path) -> dict:
    """A chunk's `manifest.json`; the shards are not looked at.

    Raises:
        StudyError: there is none, or it is damaged.
    """
    path = Path(path)
    manifest = read_json(path)
    wrong = _not_of_type(manifest, _FIELDS)
    if not wrong:
        wrong += ["mean"] * (not all(isinstance(value, _NUMBER) for value in manifest["mean"]))
        wrong += ["d_model"] * (manifest["d_model"] < 1)
        wrong += [f"shards.{name}" for shard in manifest["shards"] for name in _not_of_type(shard, _SHARD_FIELDS)]
        wrong += [f"dropped.{name}" for name in _not_of_type(manifest.get("dropped", {"sink": 0}), {"sink": int})]
    if wrong:
        raise _damaged(path, f"is damaged: {wrong[0]} is missing or cannot be")
    if sum(shard["rows"] for shard in manifest["shards"]) != manifest["rows"]:
        raise _damaged(path, "is damaged: rows is not the sum of the shards' rows")
    if len(manifest["mean"]) != manifest["d_model"]:
        raise _damaged(path, "is damaged: mean is not d_model numbers")
    return manifest


def _not_of_type(value: object, fields: dict) -> list[str]:
    """Names of the `fields` that `value` lacks or holds with another type; all of them if it is no mapping."""
    entries = value if isinstance(value, dict) else {}
    return [name for name, kind in fields.items() if not isinstance(entries.get(name), kind)]


def _damaged(path: Path, what: str) -> StudyError:
    return StudyError(f"{path} {what}; delete {path.parent} and run again")


def rows(chunk_path: str | Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (activations (rows, d_model) float32, token_index (rows,) int64) a shard, in stored order.

    Raises:
        StudyError: see `Chunk`.
    """
    chunk = Chunk(chunk_path)
    for number in range(len(chunk.shard_rows)):
        activations, token_index = chunk.shard(number)
        yield activations.float(), token_index


def batches(
    chunk_path: str | Path,
    *,
    batch_size: int,
    rows: int | None = None,
    epochs: int = 1,
    order_seed: int = 0,
    start: int = 0,
    steps: int | None = None,
    device: str | torch.device = CPU,
) -> Iterator[torch.Tensor]:
    """Yield training batches, (batch_size, d_model) float32, on `device`.

    An epoch takes the shards in a random order, and the rows of each shard in a random order. Both orders depend on
    the order seed, the chunk's name and the epoch, and on nothing else. A batch may go over the border of a shard or an
    epoch; an incomplete last batch is left out.

    Memory: the current shard and the next one, which a thread reads ahead. On a GPU: the current shard and up to 16
    more, at most one a core, at most 4 GiB and at most a quarter of the free memory, but at least one; and the same
    again in host memory while they are read.

    Args:
        chunk_path: the chunk's folder.
        batch_size: rows a batch.
        rows: use only the first `rows` rows of the chunk (a random sample, as chunks are shuffled).
        epochs: how often to go through the rows, unless `steps` says when to stop.
        order_seed: seed of the order; it changes the order and nothing else.
        start: number of the first batch to yield. The batches are those that follow the earlier ones.
        steps: how many batches to yield, over as many epochs as that takes.
        device: where to put the batches. Whole shards are moved there, in their own dtype: picking rows takes a GPU
            almost no time, and a CPU longer than a GPU's training step.

    Raises:
        StudyError: a damaged chunk, or fewer rows than `rows`.
    """
    chunk = Chunk(chunk_path)
    wanted = chunk.rows if rows is None else rows
    if not 0 < wanted <= chunk.rows:
        raise StudyError(f"{chunk.path}: {wanted} rows are asked for, but it has {chunk.rows}")
    if steps is None:
        steps = max(0, wanted * epochs // batch_size - start)
    pieces = _pieces(chunk, wanted, order_seed, skip=start * batch_size, count=steps * batch_size)
    device = torch.device(device)
    stream = _regroup(_read_ahead(chunk, pieces, device), batch_size)
    # A GPU picks rows while the processor does other work, so nothing is gained by a thread.
    yield from _one_ahead(stream) if device.type == "cpu" else stream


def rows_of_batch(
    chunk_path: str | Path, *, batch_size: int, number: int, rows: int, order_seed: int = 0
) -> Iterator[tuple[str, list[int], torch.Tensor]]:
    """Yield where the rows of one batch come from: (shard's file name, row numbers in it, the rows in float32).

    Args:
        number: number of the batch among those that `batches` yields, from 0. The other arguments are as there.
    """
    chunk = Chunk(chunk_path)
    for piece in _pieces(chunk, rows, order_seed, skip=number * batch_size, count=batch_size):
        activations, order = _read(chunk, piece)
        yield chunk.manifest["shards"][piece.shard]["name"], order.tolist(), activations[order].float()


@dataclass(frozen=True)
class _Piece:
    """Rows of one shard, in the order in which an epoch takes them."""

    shard: int
    order_seed: int
    of: int  # only the first `of` rows of the shard are used
    start: int  # the piece is [start, stop) of their order
    stop: int


def _pieces(chunk: Chunk, wanted: int, order_seed: int, skip: int, count: int) -> Iterator[_Piece]:
    """The pieces that hold `count` rows after the first `skip` rows, over as many epochs as that takes."""
    ends = np.cumsum(chunk.shard_rows)
    sizes = np.clip(wanted - (ends - chunk.shard_rows), 0, chunk.shard_rows).tolist()
    epoch, skip = divmod(skip, wanted)
    while count > 0:
        parts = ("order", order_seed, chunk.path.name, epoch)
        for shard in np.random.default_rng(stream(*parts)).permutation(len(sizes)).tolist():
            start = min(skip, sizes[shard])
            stop = min(sizes[shard], start + count)
            skip -= start
            count -= stop - start
            if stop > start:
                yield _Piece(shard, stream(*parts, shard), sizes[shard], start, stop)
        epoch += 1


def _read_ahead(
    chunk: Chunk, pieces: Iterator[_Piece], device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (activations of a shard, row numbers to take in order), reading some shards ahead."""
    return map(
        _used_by_this_stream, in_order(lambda piece: _read(chunk, piece, device), pieces, _shards_ahead(chunk, device))
    )


def _read(chunk: Chunk, piece: _Piece, device: torch.device = CPU) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations of the piece's shard, and the piece's row numbers in order."""
    activations, _ = chunk.shard(piece.shard)
    order = np.random.default_rng(piece.order_seed).permutation(piece.of)[piece.start : piece.stop]
    return _moved(activations, device), _moved(torch.from_numpy(order), device)


def _shards_ahead(chunk: Chunk, device: torch.device) -> int:
    """How many shards to read ahead of the current one."""
    if device.type == "cpu":
        return 1
    size = max(chunk.shard_rows) * chunk.d_model * torch_dtype(chunk.manifest["dtype"]).itemsize
    room = min(_DEVICE_BYTES, torch.cuda.mem_get_info(device)[0] // 4)
    return max(1, min(_DEVICE_SHARDS, cores(), room // size))


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device. On CUDA a separate stream makes it, so that training goes on meanwhile.

    The copy goes through pinned memory, which the device fetches by itself. From other memory the driver would copy,
    and the thread that trains would wait for the driver.
    """
    if device.type != "cuda":
        return tensor.to(device)
    side = _copying(device)
    rows = max(1, _PINNED_BYTES // tensor[:1].nbytes)
    with torch.cuda.stream(side):
        moved = torch.empty_like(tensor, device=device)
        for there, here in zip(moved.split(rows), tensor.split(rows), strict=True):
            there.copy_(here.pin_memory(), non_blocking=True)
        copied = side.record_event()
    copied.synchronize()
    return moved


def _used_by_this_stream(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return `tensors`, marked as used by this thread's stream (`record_stream`), which did not make them."""
    for tensor in tensors:
        if tensor.is_cuda:
            tensor.record_stream(torch.cuda.current_stream(tensor.device))
    return tensors


@functools.cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream that copies to a device."""
    return torch.cuda.Stream(device)


def _one_ahead(stream: Iterator) -> Iterator:
    """Yield the same items; a thread makes the next one while the last one is in use."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        coming = maker.submit(next, stream, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, stream, None)
            yield item


def _regroup(parts: Iterator[tuple[torch.Tensor, torch.Tensor]], batch_size: int) -> Iterator[torch.Tensor]:
    """Yield batches from the rows of successive shards."""
    rest: torch.Tensor | None = None
    for activations, order in parts:
        taken = 0
        while taken < len(order):
            need = batch_size - (0 if rest is None else len(rest))
            some = activations.index_select(0, order[taken : taken + need]).float()
            taken += len(some)
            rest = some if rest is None else torch.cat([rest, some])
            if len(rest) == batch_size:
                yield rest
                rest = None
        del activations
