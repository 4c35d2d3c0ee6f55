"""The stage `meta-baselines`: meta-SAEs of a cohort beside their baselines, and how they take latents apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, write_table
from sae_stability.meta import graph
from sae_stability.meta.baselines import COLUMNS, compared
from sae_stability.meta.decoder_rows import unit_rows
from sae_stability.ranges import Count
from sae_stability.sae.formats import own
from sae_stability.sae.model import SAE, load_own

BINS = np.round(np.arange(-0.2, 1.01, 0.05), 2)
"""Edges of the bins of largest cosines; the outer bins also take what lies beyond."""

_BLOCK = 2048  # rows whose cosines with all others are held at once


def measure_meta(
    *,
    chunk: Path,
    activations_hash: str | None = None,
    part: list[tuple[str, str]],
    sae: list[tuple[str, Path]],
    sae_hash: list[tuple[str, str]] = (),
    directions: list[tuple[str, Path]] = (),
    directions_hash: list[tuple[str, str]] = (),
    config_hash: str = "",
    out: Path,
    parts_out: Path,
    cosines_out: Path,
    graph_out: Path,
    threads: Count = 1,
) -> None:
    """Hold meta-SAEs against simpler descriptions of the same decoder rows, and count what they make of each latent.

    Args:
        chunk: folder of the decoder rows that the meta-SAEs were trained on.
        activations_hash: hash that the chunk must record.
        part: NAME=LATENTS for each SAE whose rows these are, in their order.
        sae: SEED=FOLDER of each meta-SAE.
        sae_hash: SEED=HASH that a meta-SAE must record.
        directions: NAME=FOLDER of smaller SAEs that lend their decoder rows to baselines.
        directions_hash: NAME=HASH that such an SAE must record.
        config_hash: hash of what the tables are made from, recorded in them.
        out: file for the variance explained: a row a meta-SAE and description.
        parts_out: file for the number of meta-latents: a row a meta-SAE and latent.
        cosines_out: file for the largest cosines between dictionaries, counted in bins.
        graph_out: file for how far latents with a meta-latent in common are near one latent of a smaller SAE: a row a
            meta-SAE and smaller SAE.
        threads: processor cores to use.

    Raises:
        StudyError: a file is missing or damaged or records another hash.
    """
    check_made_from(chunk / "manifest.json", activations_hash)
    for folders, hashes in ((sae, sae_hash), (directions, directions_hash)):
        recorded = dict(hashes)
        for name, folder in folders:
            check_made_from(folder / "cfg.json", recorded.get(name))
    torch.set_num_threads(threads)
    rows, index = _sorted_rows(chunk)
    sizes = [(name, int(latents)) for name, latents in part]
    if index[-1] >= sum(latents for _, latents in sizes):
        raise StudyError(f"{chunk}: has more rows than the SAEs have latents; give --part for every SAE")
    lent = {name: unit_rows(own.arrays(folder)["decoder"]) for name, folder in directions}
    found, parts, cosines, graphs = [], [], [], []
    for seed, folder in sae:
        meta = load_own(folder)
        found += [(int(seed), *row) for row in compared(meta, chunk, rows, lent, threads)]
        fires = _fires(meta, rows)
        parts.append(_parts(fires, index, sizes).assign(seed=int(seed)))
        graphs += [(int(seed), name, *graph.agreement(fires, rows @ directions.T)) for name, directions in lent.items()]
        cosines.append(_cosines(meta, rows, lent).assign(seed=int(seed)))
    metadata = {"config_hash": config_hash}
    write_table(out, pd.DataFrame(found, columns=["seed", *COLUMNS]), metadata)
    write_table(parts_out, pd.concat(parts, ignore_index=True), metadata)
    write_table(cosines_out, pd.concat(cosines, ignore_index=True), metadata)
    graphs = pd.DataFrame(graphs, columns=["seed", "directions", *graph.COLUMNS])
    write_table(graph_out, graphs.astype({"directions": str}), metadata)


def _sorted_rows(chunk: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, d) and numbers (n,) of a chunk, by number: the random order depends on nothing that matters here."""
    some = [(rows.numpy(), index.numpy()) for rows, index in reader.rows(chunk)]
    rows, index = (np.concatenate(parts) for parts in zip(*some, strict=True))
    order = np.argsort(index)
    return rows[order], index[order]


def _fires(meta: SAE, rows: np.ndarray) -> sparse.csr_array:
    """Whether each meta-latent fires on each row, (rows, meta-latents) bool."""
    blocks = torch.from_numpy(rows).split(_BLOCK)
    return sparse.csr_array(sparse.vstack([sparse.csr_array((meta.encode(some) != 0).numpy()) for some in blocks]))


def _parts(fires: sparse.csr_array, index: np.ndarray, part: list[tuple[str, int]]) -> pd.DataFrame:
    """Columns sae, latent and meta_latents, the number of meta-latents that fire on the latent's row."""
    fired = np.diff(fires.indptr).astype(np.int64)
    starts = np.cumsum([0, *(latents for _, latents in part)])
    which = np.searchsorted(starts, index, side="right") - 1
    names = np.array([name for name, _ in part])[which]
    return pd.DataFrame({"sae": names, "latent": index - starts[which], "meta_latents": fired})


def _cosines(meta: SAE, rows: np.ndarray, lent: dict[str, np.ndarray]) -> pd.DataFrame:
    """Columns of, to, low (edge of a bin) and count: each direction's largest cosine with those of a dictionary."""
    dictionaries = {"meta-latents": unit_rows(meta.decoder.numpy()), "latents": rows, **lent}
    found = []
    for of, to in _compared_dictionaries(list(lent)):
        largest = _largest(dictionaries[of], dictionaries[to], same=of == to)
        counts, _ = np.histogram(np.clip(largest, BINS[0], BINS[-1]), BINS)
        found += [(of, to, low, count) for low, count in zip(BINS, counts, strict=False)]
    return pd.DataFrame(found, columns=["of", "to", "low", "count"])


def _compared_dictionaries(lent: list[str]) -> Iterator[tuple[str, str]]:
    for name in ("meta-latents", "latents", *lent):
        yield name, name
    yield from (("meta-latents", "latents"), ("latents", "meta-latents"))
    for name in lent:
        yield from (("meta-latents", name), ("latents", name))


def _largest(rows: np.ndarray, others: np.ndarray, *, same: bool) -> np.ndarray:
    """The largest cosine of each row with the others; where both are the same dictionary, with all but itself."""
    found = []
    for first in range(0, len(rows), _BLOCK):
        cosines = rows[first : first + _BLOCK] @ others.T
        if same:
            np.fill_diagonal(cosines[:, first:], -1)
        found.append(cosines.max(axis=1))
    return np.concatenate(found)
