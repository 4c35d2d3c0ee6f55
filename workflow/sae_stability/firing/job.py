"""Measure what the latents of several SAEs of one hookpoint fire on, in one pass over held-out rows."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from sae_stability.activations import forward, reader
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, read_table, write_table
from sae_stability.firing.cofiring import cofiring_table
from sae_stability.firing.contexts import ContextSettings, context_table
from sae_stability.firing.firings import Firings, FiringSorter
from sae_stability.firing.heldout import Rows, RowTexts, Texts, model_rows, stored_rows
from sae_stability.firing.pool import pool_table
from sae_stability.firing.statistics import firing_table
from sae_stability.firing.windows import Windows
from sae_stability.models.source import ModelSource
from sae_stability.ranges import Count
from sae_stability.sae.model import SAE, load_own
from sae_stability.sae.sparse import firings as sparse_firings
from sae_stability.threads import in_order

_CONTEXTS = ContextSettings()
_BLOCK_ENTRIES = 1 << 20  # dense activations that one thread holds at once, 4 MiB
_BLOCK_ROWS = 256  # at least this many rows, so that matrix products stay efficient


def measure_firing(
    *,
    sae: list[tuple[str, Path]],
    chunk: Path,
    tokens: Path | None = None,
    rows: Count | None = None,
    model: ModelSource | None = None,
    out: list[tuple[str, Path]] = (),
    contexts_out: list[tuple[str, Path]] = (),
    pool_out: list[tuple[str, Path]] = (),
    match: list[tuple[str, Path]] = (),
    cofiring_out: list[tuple[str, Path]] = (),
    contexts: ContextSettings = _CONTEXTS,
    config_hash: list[tuple[str, str]] = (),
    activations_hash: str | None = None,
    sae_hash: list[tuple[str, str]] = (),
    work: Path,
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Measure what the latents of some SAEs fire on, choose contexts, and compare matched latents of pairs.

    The rows pass once, through all SAEs. Memory holds the SAEs, about 50 bytes a row, the firings of 1,024 latents, and
    the contexts of one SAE; all firings lie on the disk, at most 20 bytes each.

    Args:
        sae: NAME=FOLDER of an SAE, such as 0=saes/base/seed-0; once for each.
        chunk: folder of the held-out activations. With `model`, only its manifest is read: which rows, how stored.
        tokens: folder of the token blocks of the rows; without it tokens and documents are unknown, as for a matrix.
        rows: use only the first rows; all if not given.
        model: run the held-out blocks of `tokens` through this model instead of reading stored activations.
        out: NAME=FILE for the table of an SAE, see `firing.statistics`.
        contexts_out: NAME=FILE for the contexts of an SAE, see `firing.contexts`.
        pool_out: NAME=FILE for the pool of windows with an SAE's latents, see `firing.pool`.
        match: A-B=FILE, the match of the SAEs A and B.
        cofiring_out: A-B=FILE for the comparison of matched latents, see `firing.cofiring`; A-B must have a match.
        contexts: which contexts are chosen.
        config_hash: NAME=HASH or A-B=HASH of what a table is made from, recorded in it.
        activations_hash: hash that the activations must record.
        sae_hash: NAME=HASH that an SAE must record.
        work: folder in which a folder `.sorting` holds temporary files; that one is removed at the end.
        threads: processor cores to use.
        device: where to compute.

    Raises:
        StudyError: a file is missing or damaged or records another hash, SAE and rows have different widths, or there
            are fewer rows than asked for.
    """
    _check_names(dict(sae), out, contexts_out, sae_hash, dict(match), cofiring_out, tokens, model)
    check_made_from(chunk / "manifest.json", activations_hash)
    for name, made_from in sae_hash:
        check_made_from(dict(sae)[name] / "cfg.json", made_from)
    torch.set_num_threads(threads)
    data = reader.Chunk(chunk)
    if model is None:
        stream, total = stored_rows(chunk, rows), rows or data.rows
    else:
        stream, total = model_rows(tokens, model, data, threads, device), None
    with _emptied(work / ".sorting") as sorting:
        saes = {name: _loaded(folder, data, device) for name, folder in sae}
        firings, token_index = collect(saes, stream, sorting, device, total)
        del saes
        texts = None if tokens is None else Texts(tokens)
        row_texts = None if texts is None else RowTexts(texts, token_index)
        hashes, n_rows = dict(config_hash), len(token_index)
        metadata = {
            name: {"config_hash": hashes.get(name, "")} for name, _ in (*out, *contexts_out, *pool_out, *cofiring_out)
        }
        windows = Windows(texts, token_index, contexts.window) if contexts_out or pool_out else None
        for name, file in contexts_out:
            table = context_table(firings[name], windows, contexts, np.arange(firings[name].n_latents))
            write_table(file, table, metadata[name] | {"window": contexts.window})
        for name, file in pool_out:
            table = pool_table(firings[name], windows, contexts.pool, contexts.seed)
            write_table(file, table, metadata[name] | {"window": contexts.window})
        # After the contexts and the pool of the same SAE: a table of firing means that these are there too.
        for name, file in out:
            write_table(file, firing_table(firings[name], n_rows, row_texts), metadata[name] | {"rows": n_rows})
        for name, file in cofiring_out:
            a, b = name.split("-")
            matches, _ = read_table(dict(match)[name], ["latent", "counterpart_encoder", "counterpart_decoder"])
            table = cofiring_table(firings[a], firings[b], matches, n_rows, row_texts)
            write_table(file, table, metadata[name] | {"rows": n_rows})


def collect(
    saes: dict[str, SAE], stream: Iterator[Rows], work: Path, device: str, total: int | None = None
) -> tuple[dict[str, Firings], np.ndarray]:
    """Pass rows through SAEs: the firings of each, in files in `work`, and the token index of every row.

    Threads share the work by blocks of rows; each block is computed on one, so the result has the same bits with any
    number of them.

    Args:
        saes: SAEs by name.
        stream: the rows.
        work: folder for files.
        device: where to compute.
        total: number of rows, for the progress bar.
    """
    sorters = {name: FiringSorter(work / name, len(sae.encoder)) for name, sae in saes.items()}
    seen: list[np.ndarray] = []

    def blocks(progress: tqdm) -> Iterator[tuple[str, int, torch.Tensor]]:
        first = 0
        for activations, token_index in stream:
            seen.append(token_index)
            activations = activations.to(device)
            for name, sae in saes.items():
                size = max(_BLOCK_ROWS, _BLOCK_ENTRIES // len(sae.encoder))
                for start in range(0, len(activations), size):
                    yield name, first + start, activations[start : start + size]
            first += len(activations)
            progress.update(len(activations))

    def fire(block: tuple[str, int, torch.Tensor]) -> tuple:
        name, first, x = block
        with torch.inference_mode():  # a thread has a mode of its own
            rows, latents, values = sparse_firings(saes[name], x)
        return name, rows + first, latents, values

    with forward.workers(device) as count, tqdm(total=total, unit=" rows", unit_scale=True, desc="firing") as progress:
        for name, *entries in in_order(fire, blocks(progress), count):
            sorters[name].add(*entries)
    return {name: sorter.finish() for name, sorter in sorters.items()}, np.concatenate(seen)


def _check_names(saes: dict, out, contexts_out, sae_hash, matches: dict, cofiring_out, tokens, model) -> None:
    """Refuse a table or a hash of an SAE that is not given, and tables that need what is not given."""
    pairs = [name.split("-") for name, _ in cofiring_out]
    named = [name for name, _ in (*out, *contexts_out, *sae_hash)] + [name for pair in pairs for name in pair]
    if missing := [name for name in named if name not in saes]:
        raise StudyError(f"firing: no SAE is called {missing[0]}; --sae gives {', '.join(saes)}")
    if missing := [name for name, _ in cofiring_out if name not in matches or name.count("-") != 1]:
        raise StudyError(f"firing: --cofiring-out {missing[0]} needs --match {missing[0]}=FILE; a pair is written A-B")
    if tokens is None and (contexts_out or model):
        raise StudyError("firing: --contexts-out and --model need --tokens, the text of the rows")


def _loaded(folder: Path, data: reader.Chunk, device: str) -> SAE:
    sae = load_own(folder, device)
    if sae.encoder.shape[1] != data.d_model:
        raise StudyError(f"{folder}: has width {sae.encoder.shape[1]}, but {data.path} has width {data.d_model}")
    return sae


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Empty a folder of temporary files, which a killed job may have left, and remove it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
