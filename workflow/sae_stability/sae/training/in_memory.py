"""Train SAEs from Python, on rows in memory or on one chunk on disk."""

import dataclasses
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations.reader import Chunk
from sae_stability.activations.writer import ChunkWriter, NonFinite, shuffled_order
from sae_stability.devices import check_device, thread_count
from sae_stability.errors import StudyError
from sae_stability.ranges import checked_count
from sae_stability.sae.model import SAE, load_own
from sae_stability.sae.training.job import SaeJob
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.train import train_block

SHARD_ROWS = 1 << 17
_WRITTEN_ROWS = 1 << 16  # rows written at a time


def train(
    activations,
    *,
    init_seeds: Sequence[int] | None = None,
    out: str | Path | None = None,
    threads: int | None = None,
    device: str = "cpu",
    progress: bool = False,
    **settings,
) -> SAE | list[SAE]:
    """Train an SAE, or several that differ only in their init seed, on one set of activations.

    The weights are bit for bit those of the command `train` on the same chunk with the same settings.

    Args:
        activations: (rows, d_model), numpy or torch, copied as float32 into a temporary folder for the training; or the
            folder of a chunk, written by extraction or by the import of a matrix.
        init_seeds: train one SAE for each seed, reading each batch once for all. None: one SAE, with seed `init_seed`.
        out: folder to save the SAE in; with `init_seeds`, a folder `seed-N` for each SAE inside it. None: save nothing.
        threads: number of CPU threads; default all available. The weights do not depend on it.
        device: "cpu" or "cuda".
        progress: whether to show a bar on stderr.
        settings: fields of `TrainSettings`. Required: `n_latents` and `k`. Optional: `init_seed` (default 0),
            `architecture`, `epochs`, `batch_size`, `learning_rate`, `normalisation` and others. `tokens` defaults to
            all rows times `epochs`.

    Returns:
        The SAE; with `init_seeds`, a list of SAEs in their order.

    Raises:
        StudyError: settings are wrong, `init_seeds` is empty, no such device, `threads` is below 1; activations are not
            a matrix of real numbers, too few or not finite; or the training diverged.

    Example:
        >>> import torch
        >>> from sae_stability import sae
        >>> rows = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
        >>> trained = sae.train(rows, n_latents=16, k=2, batch_size=64, epochs=2)
        >>> trained.decoder.shape
        torch.Size([16, 8])
        >>> one, other = sae.train(rows, n_latents=16, k=2, batch_size=64, init_seeds=[0, 1])
        >>> one.cfg["init_seed"], other.cfg["init_seed"]
        (0, 1)
    """
    _check_names(settings)
    seeds = _seeds(init_seeds, settings)
    epochs = checked_count("epochs", settings.get("epochs", TrainSettings.epochs))
    threads = thread_count(threads)
    check_device(device)
    with tempfile.TemporaryDirectory(prefix="sae-stability-") as temporary:
        chunk = activations
        if not isinstance(activations, str | Path):
            # This name matters: the order of the rows depends on it.
            chunk = _write_chunk(activations, Path(temporary) / "chunk-0000")
        rows = Chunk(chunk).rows
        _check_enough(rows, settings.get("batch_size", TrainSettings.batch_size))
        settings.setdefault("tokens", rows * epochs)
        settings.setdefault("chunk_tokens", rows)
        root = Path(out) if out is not None else Path(temporary) / "saes"
        folders = [root] if init_seeds is None else [root / f"seed-{seed}" for seed in seeds]
        train_block(
            [
                SaeJob(settings=TrainSettings(**settings, init_seed=seed), out=folder)
                for seed, folder in zip(seeds, folders, strict=True)
            ],
            chunk=Path(chunk),
            chunk_index=0,
            threads=threads,
            device=device,
            progress=progress,
        )
        trained = [load_own(folder, device) for folder in folders]
    return trained[0] if init_seeds is None else trained


def _check_names(settings: dict) -> None:
    names = [field.name for field in dataclasses.fields(TrainSettings)]
    wrong = sorted(settings.keys() - set(names))
    if wrong:
        raise StudyError(f"train: {wrong[0]!r} is not a setting; allowed: {', '.join(names)}")
    missing = [name for name in ("n_latents", "k") if name not in settings]
    if missing:
        raise StudyError(f"train: {missing[0]} is missing; give {missing[0]}=")


def _seeds(init_seeds: Sequence[int] | None, settings: dict) -> list[int]:
    """The init seeds to train; `init_seed` is taken out of `settings`."""
    if init_seeds is None:
        return [settings.pop("init_seed", TrainSettings.init_seed)]
    if "init_seed" in settings:
        raise StudyError("train: init_seed and init_seeds are both given; give one of them")
    if not isinstance(init_seeds, Iterable) or isinstance(init_seeds, str) or not (seeds := list(init_seeds)):
        raise StudyError(f"train: init_seeds is {init_seeds!r}; give a list with a seed for each SAE, such as [0, 1]")
    return seeds


def _check_enough(rows: int, batch_size: object) -> None:
    # `TrainSettings` checks the batch size itself.
    if isinstance(batch_size, int) and rows < batch_size:
        raise StudyError(
            f"activations: {rows:,} rows, fewer than one batch of {batch_size:,}; give more, or lower batch_size"
        )


def _write_chunk(activations, folder: Path) -> Path:
    """Write rows in memory, in random order, as a chunk folder."""
    try:
        rows = torch.as_tensor(activations)
    except (TypeError, ValueError, RuntimeError) as error:
        raise StudyError(f"activations: cannot be read as a matrix of numbers ({error})") from None
    if rows.ndim != 2 or 0 in rows.shape or rows.is_complex():
        raise StudyError(
            f"activations: {rows.dtype} of shape {tuple(rows.shape)}; must be a real matrix (rows, d_model)"
        )
    order = shuffled_order(0, 0, -(-len(rows) // SHARD_ROWS))
    capacity = np.bincount(order.shard(np.arange(len(rows))), minlength=order.shards)
    metadata = {"model": None, "revision": None, "hookpoint": "", "context_length": 1, "config_hash": ""}
    writer = ChunkWriter(folder, rows.shape[1], "float32", order, capacity, metadata)
    try:
        for start in range(0, len(rows), _WRITTEN_ROWS):
            part = rows[start : start + _WRITTEN_ROWS].detach()
            writer.add(part, np.arange(start, start + len(part)))
        writer.finish({"dropped": {"special": 0, "padding": 0, "sink": 0}, "max_norm": None})
    except NonFinite as error:
        writer.discard()
        raise StudyError(f"activations, row {error.token_index}: the row {error.reason}; leave such rows out") from None
    except BaseException:
        writer.discard()
        raise
    return folder
