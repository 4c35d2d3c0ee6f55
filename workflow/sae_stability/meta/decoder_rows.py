"""Decoder rows of SAEs in the form that `extract` gives activations, for SAEs that are trained on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from sae_stability.activations.writer import ChunkWriter, shuffled_order, stored_order
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, read_json, read_metadata, read_table
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count, Index
from sae_stability.sae.formats import own

MODEL = "decoder rows"
"""What a meta-SAE records in place of its model; in place of a revision, what the SAEs whose rows it reads record."""

_CHUNK = 0  # decoder rows make one chunk


def write_decoder_rows(
    *,
    sae: Sequence[Path],
    sae_hash: Sequence[str] = (),
    latents: Sequence[Path] = (),
    latents_hash: Sequence[str] = (),
    chunk: Index | Literal["heldout"],
    shard_rows: Count,
    dtype: str = "float32",
    shuffle_seed: Index = 0,
    config_hash: str = "",
    out: Path,
    threads: Count = 1,
) -> dict:
    """Write the decoder rows of SAEs as a chunk: each scaled to norm 1, in random order; or, held out, in their own.

    A row's `token_index` is its latent, counted on over the SAEs in their order. A row without a direction (norm 0) is
    left out.

    Args:
        sae: folder of an SAE; repeat for each.
        sae_hash: hash that the SAE must record; one for each SAE, or none.
        latents: table of latents from the SAE's evaluation; one for each SAE, or none. Latents that never fire are then
            left out.
        latents_hash: hash that the table must record; one for each table, or none.
        chunk: 0, or "heldout": the same rows in the order of the latents.
        shard_rows: rows a shard, about.
        dtype: precision of the stored numbers: float32, float16 or bfloat16.
        shuffle_seed: seed of the order of the rows.
        config_hash: fingerprint of what the chunk is made from, recorded in the shards and the manifest.
        out: folder for the chunk.
        threads: processor cores to use.

    Returns:
        The manifest.

    Raises:
        StudyError: no such SAE or table, one that records another hash, SAEs of several widths, or no row is left.
    """
    torch.set_num_threads(threads)
    check_one_each(len(sae), "SAEs", sae_hash=sae_hash, latents=latents, latents_hash=latents_hash)
    for folder, made_from in zip(sae, sae_hash, strict=False):
        check_made_from(folder / "cfg.json", made_from)
    for file, made_from in zip(latents, latents_hash, strict=False):
        if read_metadata(file).get("config_hash") != made_from:
            raise StudyError(f"{file}: was made from something else; delete it and run again")
    rows = [unit_rows(own.arrays(folder)["decoder"]) for folder in sae]
    if len({some.shape[1] for some in rows}) > 1:
        raise StudyError(f"{sae[0]}: the SAEs differ in width; give SAEs of one width")
    kept = [_kept(some, file) for some, file in zip(rows, latents or [None] * len(rows), strict=True)]
    rows, kept = np.concatenate(rows), np.concatenate(kept)
    if not kept.any():
        raise StudyError(f"{sae[0]}: no latent fires, so no decoder row is left; leave --latents out")
    index, shards = np.arange(len(rows)), -(-len(rows) // shard_rows)
    order = stored_order(index, shards) if chunk == "heldout" else shuffled_order(shuffle_seed, _CHUNK, shards)
    capacity = np.bincount(order.shard(index), minlength=order.shards)
    made_from = ",".join(str(read_json(folder / "cfg.json").get("config_hash")) for folder in sae)
    metadata = {"model": MODEL, "revision": made_from, "hookpoint": "decoder", "context_length": 1}
    metadata |= {"config_hash": config_hash}
    writer = ChunkWriter(out, rows.shape[1], dtype, order, capacity, metadata)
    try:
        writer.add(torch.from_numpy(rows[kept]), index[kept])
        dropped = {"special": 0, "padding": 0, "sink": 0, "dead": int((~kept).sum())}
        return writer.finish({"dropped": dropped, "max_norm": None})
    except BaseException:
        writer.discard()
        raise


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """The rows (n, d) scaled to norm 1, in float32; a row of zeros stays."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


def _kept(rows: np.ndarray, latents: Path | None) -> np.ndarray:
    """Which rows are kept, (n,) bool: those with a direction and, where a table tells, whose latent fires."""
    kept = (rows != 0).any(axis=1)
    if latents is None:
        return kept
    table, _ = read_table(latents, ["latent", "alive"])
    alive = table.sort_values("latent")["alive"].to_numpy()
    if len(alive) != len(rows):
        raise StudyError(
            f"{latents}: has {len(alive):,} latents, but its SAE has {len(rows):,}; give the SAE's own table"
        )
    return kept & alive
