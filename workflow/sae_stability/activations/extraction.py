"""Activations of a token set's chunk at several hookpoints, in one forward pass over its blocks."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sae_stability.activations import forward, sinks
from sae_stability.activations.hooks import Hooks, hookpoint_width
from sae_stability.activations.inplace_gelu import gelu_in_place
from sae_stability.activations.writer import ChunkWriter, NonFinite, RowOrder, Rows, shuffled_order, stored_order
from sae_stability.corpus.blocks import BlockFile
from sae_stability.errors import StudyError
from sae_stability.models.loading import load_model, resolve_model
from sae_stability.threads import in_order


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
    batch_tokens: int | None,
    device: str,
    chunk_tokens: int,
    config_hash: str,
) -> list[dict]:
    """Write the activations of one chunk, a folder a hookpoint: shards, then a manifest.

    The forward pass stops after the last hookpoint. Rows are tokens that are neither padding nor (unless
    `keep_special`) special, in a random order that is the same for every hookpoint and pass of the token set;
    held-out rows keep their order. Batches are computed side by side, each on one thread, as many as torch has threads:
    the bytes do not depend on how many. There are ceil(chunk_tokens / shard_rows) shards, for held-out rows
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
            on about 20,000 rows of chunk 0 whichever chunk this is (see `sinks.norm_limits`); None keeps all.
        batch_tokens: tokens a forward pass; None for what suits the device.
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
    check_fit(network, blocks.context_length, census["largest_token"])
    writers: dict[str, ChunkWriter] = {}
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
            writers[hookpoint] = ChunkWriter(Path(out), width, dtype, order, capacity, metadata)
        with Hooks(network, hookpoints) as hooks, forward.workers(device) as count:
            batch_tokens = batch_tokens or forward.suitable_tokens(device)
            gelu_in_place(hooks)
            limits = {}
            if max_norm_multiple is not None:
                sample = {"keep_special": keep_special, "batch_tokens": batch_tokens, "count": count}
                limits = sinks.norm_limits(hooks, tokens, max_norm_multiple, **sample)
            prepare = functools.partial(_prepared, hooks, writers, limits, blocks.context_length)
            batches = forward.batches(blocks.kept(keep_special=keep_special), batch_tokens)
            with tqdm(total=census["rows"], unit=" tokens", unit_scale=True, desc=f"extract {chunk}") as progress:
                for prepared in in_order(prepare, batches, count):
                    for hookpoint, rows in prepared.items():
                        writers[hookpoint].append(rows)
                    progress.update(max(len(rows.token_index) for rows in prepared.values()))
        manifests = []
        for hookpoint, writer in writers.items():
            sink = census["rows"] - int(writer.filled.sum())
            dropped = {"special": census["special"], "padding": census["padding"], "sink": sink}
            extra = {"keep_special": keep_special, "dropped": dropped, "max_norm": limits.get(hookpoint)}
            manifests.append(writer.finish(extra))
        return manifests
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise


def _prepared(
    hooks: Hooks, writers: dict[str, ChunkWriter], limits: dict[str, float], context_length: int, batch: forward.Batch
) -> dict[str, Rows]:
    """A batch's rows at each hookpoint, without sinks, ready for the writers."""
    prepared = {}
    for hookpoint, rows in forward.rows(hooks, batch).items():
        token_index = batch.token_index
        if hookpoint in limits:
            kept = sinks.not_sink(rows, limits[hookpoint])
            rows, token_index = rows[kept], token_index[kept.cpu().numpy()]
        try:
            prepared[hookpoint] = writers[hookpoint].prepare(rows, token_index)
        except NonFinite as error:
            raise StudyError(error.at(hookpoint, context_length)) from None
    return prepared


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


def check_fit(model: torch.nn.Module, context_length: int, largest_token: int) -> None:
    """Raise a `StudyError` unless the model has that many positions and knows that token."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and context_length > positions:
        raise StudyError(f"context_length {context_length} is more than the model's {positions} positions; lower it")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if largest_token >= vocabulary:
        raise StudyError(
            f"the token set holds token {largest_token}, the model knows {vocabulary}; use the model's own tokenizer"
        )
