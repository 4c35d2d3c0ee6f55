"""Activations of a token set's chunk at several hookpoints, in one forward pass over its blocks."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from tqdm import tqdm

from sae_stability.activations import forward, sinks
from sae_stability.activations.hooks import Hooks
from sae_stability.activations.inplace_gelu import gelu_in_place
from sae_stability.activations.writer import (
    ChunkWriter,
    NonFinite,
    PreparedRows,
    RowOrder,
    shuffled_order,
    stored_order,
)
from sae_stability.corpus.blocks import BlockFile
from sae_stability.errors import StudyError
from sae_stability.models.loading import load_model
from sae_stability.models.positions import table_positions
from sae_stability.models.source import ModelSource
from sae_stability.models.vocabulary import known_tokens
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count, Index, Within
from sae_stability.threads import in_order


def extract(
    *,
    model: ModelSource,
    tokens: Path,
    chunk: Index | Literal["heldout"],
    chunk_tokens: Count,
    hookpoint: list[str],
    out: list[Path],
    dtype: str = "float16",
    shard_rows: Count,
    shuffle_seed: Index = 0,
    keep_special: bool = False,
    max_norm_multiple: Annotated[float, Within({"exclusiveMinimum": 1})] | None = None,
    batch_tokens: Count | None = None,
    config_hash: str = "",
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> list[dict]:
    """Write a model's activations on one chunk of tokens: a folder of shards and a manifest for each hookpoint.

    The forward pass stops after the last hookpoint. Rows are tokens that are neither padding nor (unless
    `keep_special`) special, in a random order that is the same for every hookpoint and pass of the token set;
    held-out rows keep their order. On a CPU, each thread computes a batch of its own; the bytes do not depend on how
    many there are. There are ceil(chunk_tokens / shard_rows) shards, and ceil(rows / shard_rows) of held-out rows. A
    job that is killed leaves no manifest, and without one no later job believes the shards.

    Args:
        model: the model, the weights it must have, and the precision it computes in.
        tokens: folder of token blocks.
        chunk: number of the chunk, or "heldout".
        chunk_tokens: rows of a full chunk.
        hookpoint: module to read, PATH for its output or PATH:in for its input; once for each.
        out: folder for the chunk at each hookpoint, in the order of the hookpoints.
        dtype: precision of the stored numbers: float32, float16 or bfloat16.
        shard_rows: rows a shard, about.
        shuffle_seed: seed of the order of the rows.
        keep_special: keep BOS, EOS, CLS and SEP tokens; padding is never kept.
        max_norm_multiple: drop rows whose norm exceeds this many times the hookpoint's median norm; all are kept if
            not given. The median is estimated on about 20,000 rows of chunk 0, whichever chunk this is.
        batch_tokens: tokens a forward pass; what suits the device if not given.
        config_hash: fingerprint of what the activations are made from, recorded in the shards and the manifest.
        threads: processor cores to use.
        device: where to compute.

    Returns:
        The manifests, one a hookpoint.

    Raises:
        StudyError: wrong model, hookpoint or token set; not one folder for each hookpoint; activations that are not
            finite.
    """
    check_one_each(len(hookpoint), "hookpoints", out=out)
    torch.set_num_threads(threads)
    blocks = BlockFile(tokens, chunk)
    census = _census(blocks, keep_special)
    order = _row_order(blocks, chunk, keep_special, shuffle_seed, chunk_tokens, shard_rows)
    capacity = _capacity(blocks, order, keep_special)
    network = load_model(model, device)
    check_fit(network, blocks.context_length, census["largest_token"])
    writers: dict[str, ChunkWriter] = {}
    try:
        with Hooks(network, hookpoint) as hooks, forward.workers(device) as count:
            widths = _widths(hooks, blocks, keep_special)
            for path, folder in zip(hookpoint, out, strict=True):
                metadata = {
                    "model": model.name,
                    "revision": model.revision,
                    "hookpoint": path,
                    "context_length": blocks.context_length,
                    "config_hash": config_hash,
                }
                writers[path] = ChunkWriter(Path(folder), widths[path], dtype, order, capacity, metadata)
            batch_tokens = batch_tokens or forward.suitable_tokens(device)
            limits = {}
            if max_norm_multiple is not None:
                sample = {"keep_special": keep_special, "batch_tokens": batch_tokens, "count": count}
                limits = sinks.norm_limits(hooks, tokens, max_norm_multiple, **sample)
            prepare = functools.partial(_prepared, hooks, writers, limits, blocks.context_length)
            batches = forward.batches(blocks.kept(keep_special=keep_special), batch_tokens)
            with tqdm(total=census["rows"], unit=" tokens", unit_scale=True, desc=f"extract {chunk}") as progress:
                for prepared in in_order(prepare, batches, count):
                    for path, rows in prepared.items():
                        writers[path].append(rows)
                    progress.update(max(len(rows.token_index) for rows in prepared.values()))
        manifests = []
        for path, writer in writers.items():
            sink = census["rows"] - int(writer.filled.sum())
            dropped = {"special": census["special"], "padding": census["padding"], "sink": sink}
            extra = {"keep_special": keep_special, "dropped": dropped, "max_norm": limits.get(path)}
            manifests.append(writer.finish(extra))
        return manifests
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise


def _prepared(
    hooks: Hooks, writers: dict[str, ChunkWriter], limits: dict[str, float], context_length: int, batch: forward.Batch
) -> dict[str, PreparedRows]:
    """A batch's rows at each hookpoint, ready for the writers; sinks are left out."""
    prepared = {}
    for hookpoint, rows in forward.rows(hooks, batch).items():
        token_index = batch.token_index
        if hookpoint in limits:
            kept = sinks.not_sink(rows, limits[hookpoint])
            rows, token_index = rows[kept], token_index[kept.cpu().numpy()]
        try:
            prepared[hookpoint] = writers[hookpoint].prepare(rows, token_index)
        except NonFinite as error:
            raise forward.not_finite(hooks.model, hookpoint, error, context_length) from None
    return prepared


def _widths(hooks: Hooks, blocks: BlockFile, keep_special: bool) -> dict[str, int]:
    """Width of the activations at each hookpoint, from a first block; and GELUs are put in place, tried on it."""
    batch = next(forward.batches(blocks.kept(keep_special=keep_special), batch_tokens=1))
    with torch.inference_mode(), forward.running(hooks.model, batch.tokens):
        inputs = forward.inputs(batch, next(hooks.model.parameters()).device)
        widths = {hookpoint: found.shape[-1] for hookpoint, found in hooks.run(**inputs).items()}
        gelu_in_place(hooks, **inputs)
    return widths


def _census(blocks: BlockFile, keep_special: bool) -> dict:
    """How many tokens of the file are rows, how many are dropped as special or as padding, and the largest token."""
    rows = special = padding = largest = 0
    for _, some, kept in blocks.kept(keep_special=keep_special):
        rows += int(kept.sum())
        padded = some.document_id < 0
        padding += int(padded.sum())
        special += 0 if keep_special else int((some.special & ~padded).sum())
        largest = max(largest, int(some.tokens.max()))
    return {"rows": rows, "special": special, "padding": padding, "largest_token": largest}


def _row_indices(blocks: BlockFile, keep_special: bool) -> Iterator[np.ndarray]:
    """Yield the token index of the file's rows, (rows,) int64, in order."""
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
    positions = table_positions(model)
    if positions is not None and context_length > positions:
        raise StudyError(f"context_length {context_length} is above the model's {positions} positions; lower it")
    vocabulary = known_tokens(model)
    if vocabulary is not None and largest_token >= vocabulary:
        raise StudyError(
            f"the token set holds token {largest_token}, but the model knows {vocabulary}; "
            "use the model's own tokenizer"
        )
