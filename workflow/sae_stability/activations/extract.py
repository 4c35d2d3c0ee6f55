"""Activations of a token set's chunk at several hookpoints, in one forward pass over its blocks."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sae_stability.activations.hooks import Hooks, hookpoint_width
from sae_stability.activations.model import load_model, resolve_model
from sae_stability.activations.writer import ChunkWriter, NonFinite, RowOrder, shuffled_order, stored_order
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.packing import Blocks
from sae_stability.errors import StudyError

MEDIAN_ROWS = 20_000  # rows that the median norm for sinks is estimated on


def extract(
    *,
    model: str,
    revision: str | None,
    sha256: str | None,
    model_dtype: str,
    tokens: Path,
    chunk: int | str,
    hookpoints: list[str],
    outs: list[Path],
    dtype: str,
    shard_rows: int,
    shuffle_seed: int,
    keep_special: bool,
    max_norm_multiple: float | None,
    batch_tokens: int,
    device: str,
    chunk_tokens: int,
    config_hash: str,
) -> list[dict]:
    """Write the activations of one chunk, a folder a hookpoint: shards, then a manifest.

    The forward pass stops after the last hookpoint. Rows are tokens that are neither padding nor (unless
    `keep_special`) special, in a random order that is the same for every hookpoint and pass of the token set;
    held-out rows keep their order. There are ceil(chunk_tokens / shard_rows) shards, for held-out rows
    ceil(their tokens / shard_rows). A job that is killed leaves no manifest, so nothing that a later one believes.

    Args:
        model, revision, sha256: see `load_model` and `resolve_model`.
        model_dtype: dtype of the model's weights and arithmetic.
        tokens: folder of the token set.
        chunk: number of the chunk, or "heldout".
        hookpoints: `PATH` or `PATH:in`.
        outs: the chunk's folder for each hookpoint.
        dtype: dtype of the stored activations.
        shard_rows: rows a shard, about.
        shuffle_seed: seed of the rows' order.
        keep_special: keep special tokens (never padding).
        max_norm_multiple: drop rows whose norm exceeds this multiple of the hookpoint's median norm, estimated
            on the chunk's first 20,000 rows; None keeps all. Such sink tokens otherwise dominate the variance.
        batch_tokens: tokens a forward pass.
        device: torch device of the model.
        chunk_tokens: trainable tokens of a full chunk.
        config_hash: recorded in the shards and the manifest.

    Returns:
        The manifests, one a hookpoint.

    Raises:
        StudyError: wrong model, hookpoint or token set; activations that are not finite.
    """
    resolve_model(model, sha256, revision)
    blocks = BlockFile(tokens, chunk)
    census = _census(blocks, keep_special)
    order = _row_order(blocks, chunk, keep_special, shuffle_seed, chunk_tokens, shard_rows)
    capacity = _capacity(blocks, order, keep_special)
    network = load_model(model, revision, model_dtype, device)
    _check_fit(network, blocks.context_length, census["largest_token"])
    sinks: list[_Sink] = []
    try:
        for hookpoint, out in zip(hookpoints, outs, strict=True):
            metadata = {
                "model": model,
                "revision": revision,
                "hookpoint": hookpoint,
                "context_length": blocks.context_length,
                "config_hash": config_hash,
            }
            width = hookpoint_width(network, hookpoint)
            sinks.append(_Sink(ChunkWriter(Path(out), width, dtype, order, capacity, metadata), max_norm_multiple))
        with tqdm(total=census["rows"], unit=" tokens", unit_scale=True, desc=f"extract {chunk}") as progress:
            for batch, found in _activations(network, hookpoints, blocks, keep_special, batch_tokens):
                for hookpoint, sink in zip(hookpoints, sinks, strict=True):
                    kept = torch.from_numpy(batch.kept).to(found[hookpoint].device)
                    with _named(hookpoint, blocks.context_length):
                        sink.add(found[hookpoint][kept], batch.token_index)
                progress.update(len(batch.token_index))
        dropped = {"special": census["special"], "padding": census["padding"]}
        manifests = []
        for hookpoint, sink in zip(hookpoints, sinks, strict=True):
            with _named(hookpoint, blocks.context_length):
                manifests.append(sink.finish(dropped))
        return manifests
    except BaseException:
        for sink in sinks:
            sink.writer.discard()
        raise


@dataclass(frozen=True)
class _Batch:
    """Blocks of one forward pass, cut to their longest, and which of their tokens are rows."""

    tokens: np.ndarray  # (blocks, length)
    mask: np.ndarray | None  # (blocks, length), None where nothing is padded
    kept: np.ndarray  # (blocks, length)
    token_index: np.ndarray  # (rows,)


class _Sink:
    """A chunk writer that can drop rows of extreme norm, once it has seen enough rows to know the median."""

    def __init__(self, writer: ChunkWriter, multiple: float | None):
        self.writer, self.multiple = writer, multiple
        self.threshold: float | None = None
        self.waiting: list[tuple[torch.Tensor, np.ndarray]] = []
        self.waiting_rows = 0
        self.dropped = 0

    def add(self, activations: torch.Tensor, token_index: np.ndarray) -> None:
        if self.multiple is None:
            self.writer.add(activations, token_index)
        elif self.threshold is not None:
            self._add_below(activations, token_index)
        else:
            self.waiting.append((activations, token_index))
            self.waiting_rows += len(token_index)
            if self.waiting_rows >= MEDIAN_ROWS:
                self._learn()

    def _learn(self) -> None:
        norms = torch.cat([activations.float().norm(dim=1) for activations, _ in self.waiting])[:MEDIAN_ROWS]
        self.threshold = float(norms.median()) * self.multiple
        for activations, token_index in self.waiting:
            self._add_below(activations, token_index)
        self.waiting = []

    def _add_below(self, activations: torch.Tensor, token_index: np.ndarray) -> None:
        # "not above" rather than "below": a row that is NaN must reach the writer, which refuses it.
        kept = ~(activations.float().norm(dim=1) > self.threshold)
        self.dropped += int((~kept).sum())
        self.writer.add(activations[kept], token_index[kept.cpu().numpy()])

    def finish(self, dropped: dict) -> dict:
        if self.waiting:
            self._learn()
        extra = {"dropped": {**dropped, "sink": self.dropped}, "max_norm": self.threshold}
        return self.writer.finish(extra)


@contextlib.contextmanager
def _named(hookpoint: str, context_length: int) -> Iterator[None]:
    try:
        yield
    except NonFinite as error:
        block, position = divmod(error.token_index, context_length)
        raise StudyError(
            f"hookpoint '{hookpoint}', block {block}, position {position}: the activation {error.reason}"
        ) from None


def _activations(
    model: torch.nn.Module, hookpoints: list[str], blocks: BlockFile, keep_special: bool, batch_tokens: int
) -> Iterator[tuple[_Batch, dict[str, torch.Tensor]]]:
    device = next(model.parameters()).device
    with Hooks(model, hookpoints) as hooks, torch.inference_mode():
        for batch in _batches(blocks, keep_special, batch_tokens):
            inputs = {"input_ids": torch.from_numpy(batch.tokens).long().to(device)}
            if batch.mask is not None:
                inputs["attention_mask"] = torch.from_numpy(batch.mask).long().to(device)
            yield batch, hooks.run(**inputs)


def _batches(blocks: BlockFile, keep_special: bool, batch_tokens: int) -> Iterator[_Batch]:
    """Blocks of like length together, so that little padding is computed; rows are put in order later."""
    for first, some, kept in blocks.kept(keep_special=keep_special):
        lengths = (some.document_id >= 0).sum(axis=1)
        chosen = np.flatnonzero(kept.any(axis=1))
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        start = 0
        while start < len(chosen):
            # The longest of a run is its last; blocks are added while the padded batch stays in bounds.
            size = max(1, batch_tokens // int(lengths[chosen[start]]))
            while size > 1 and size * int(lengths[chosen[start : start + size][-1]]) > batch_tokens:
                size -= 1
            yield _batch(some, kept, lengths, chosen[start : start + size], first)
            start += size


def _batch(blocks: Blocks, kept: np.ndarray, lengths: np.ndarray, chosen: np.ndarray, first: int) -> _Batch:
    length = int(lengths[chosen].max())
    kept = kept[chosen]
    mask = None if lengths[chosen].min() == length else blocks.document_id[chosen, :length] >= 0
    index = (first + chosen)[:, None] * kept.shape[1] + np.arange(kept.shape[1])
    return _Batch(blocks.tokens[chosen, :length], mask, kept[:, :length], index[kept].astype(np.int64))


def _census(blocks: BlockFile, keep_special: bool) -> dict:
    """How many tokens of the file are rows, how many are special or padding, and the largest token."""
    rows = special = padding = largest = 0
    for _, some, kept in blocks.kept(keep_special=keep_special):
        rows += int(kept.sum())
        padded = some.document_id < 0
        padding += int(padded.sum())
        special += 0 if keep_special else int((some.special & ~padded).sum())
        largest = max(largest, int(some.tokens.max()))
    return {"rows": rows, "special": special, "padding": padding, "largest_token": largest}


def _row_indices(blocks: BlockFile, keep_special: bool) -> Iterator[np.ndarray]:
    for first, some, kept in blocks.kept(keep_special=keep_special):
        index = (first + np.arange(len(some)))[:, None] * blocks.context_length + np.arange(blocks.context_length)
        yield index[kept].astype(np.int64)


def _row_order(
    blocks: BlockFile, chunk: int | str, keep_special: bool, shuffle_seed: int, chunk_tokens: int, shard_rows: int
) -> RowOrder:
    if chunk == "heldout":
        index = np.concatenate(list(_row_indices(blocks, keep_special)))
        return stored_order(index, -(-blocks.tokens // shard_rows))
    return shuffled_order(shuffle_seed, int(chunk), -(-chunk_tokens // shard_rows))


def _capacity(blocks: BlockFile, order: RowOrder, keep_special: bool) -> np.ndarray:
    """Rows that each shard will get, (shards,) int64, counted before the first forward pass."""
    capacity = np.zeros(order.shards, dtype=np.int64)
    for index in _row_indices(blocks, keep_special):
        capacity += np.bincount(order.shard(index), minlength=order.shards)
    return capacity


def _check_fit(model: torch.nn.Module, context_length: int, largest_token: int) -> None:
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and context_length > positions:
        raise StudyError(f"context_length {context_length} is more than the model's {positions} positions; lower it")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if largest_token >= vocabulary:
        raise StudyError(
            f"the token set holds token {largest_token}, the model knows {vocabulary}; use the model's own tokenizer"
        )
