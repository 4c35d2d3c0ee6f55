"""Swap latents of SAEs for their counterparts, and pool those of two, in one pass over held-out rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, read_table, write_table
from sae_stability.firing.heldout import stored_rows
from sae_stability.firing.pooling import Pooling
from sae_stability.firing.substitution import Seen, Substitution, see
from sae_stability.match.threshold import THRESHOLD
from sae_stability.ranges import Cosine, Count
from sae_stability.sae.model import SAE, load_own

_BLOCK_ENTRIES = 1 << 20  # dense activations held at once, 4 MiB
_BLOCK_ROWS = 256  # at least this many rows, so that matrix products stay efficient
_SAMPLED_ROWS = 2048  # about as many rows, evenly spaced, for curves and pools; each costs much more than for a swap
_COLUMNS = ["counterpart_decoder", "counterpart_encoder", "cosine_decoder", "cosine_encoder"]


def measure_substitution(
    *,
    sae: list[tuple[str, Path]],
    chunk: Path,
    match: list[tuple[str, Path]],
    out: list[tuple[str, Path]],
    curve_out: list[tuple[str, Path]] = (),
    pooling_out: list[tuple[str, Path]] = (),
    threshold: Cosine = THRESHOLD,
    config_hash: list[tuple[str, str]] = (),
    activations_hash: str | None = None,
    sae_hash: list[tuple[str, str]] = (),
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Measure how the error changes when latents of an SAE are swapped for their counterparts in another.

    The rows pass once, through all SAEs. Memory holds the SAEs and one block of rows.

    Args:
        sae: NAME=FOLDER of an SAE, such as 0=saes/base/seed-0; once for each.
        chunk: folder of the held-out activations.
        match: A-B=FILE, the match of the SAEs A and B; once for each pair.
        out: A-B=FILE for the table of a pair's latents, see `firing.substitution`; A-B must have a match.
        curve_out: A-B=FILE for the error after more and more latents are swapped.
        pooling_out: A-B=FILE for the error of pooled latents, see `firing.pooling`.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        config_hash: A-B=HASH of what a pair's tables are made from, recorded in them.
        activations_hash: hash that the activations must record.
        sae_hash: NAME=HASH that an SAE must record.
        threads: processor cores to use.
        device: where to compute.

    Raises:
        StudyError: a file is missing or damaged or records another hash, or SAE and rows have different widths.
    """
    folders, matches = dict(sae), dict(match)
    wanted = [name for name, _ in (*out, *curve_out, *pooling_out)]
    _check_names(folders, matches, wanted)
    check_made_from(chunk / "manifest.json", activations_hash)
    for name, made_from in sae_hash:
        check_made_from(folders[name] / "cfg.json", made_from)
    torch.set_num_threads(threads)
    data = reader.Chunk(chunk)
    saes = {name: load_own(folder, device) for name, folder in sae}
    for name, loaded in saes.items():
        if loaded.d_model != data.d_model:
            raise StudyError(f"{folders[name]}: has width {loaded.d_model}, but {chunk} has width {data.d_model}")
    swaps, pools = {}, {}
    for pair in dict.fromkeys(wanted):
        a, b = (saes[name] for name in pair.split("-"))
        table, _ = read_table(matches[pair], _COLUMNS)
        swaps[pair] = Substitution(table, (a.n_latents, b.n_latents), threshold)
    for pair, _ in pooling_out:
        decoder = saes[pair.split("-")[1]].decoder
        shared = np.zeros(len(decoder), bool)
        shared[swaps[pair].partner["swap"][swaps[pair].shared]] = True
        pools[pair] = Pooling(shared, decoder)
    with torch.inference_mode():
        variance, sampled = _pass(saes, swaps, pools, data, device)
    hashes = dict(config_hash)
    for files, make in (
        (out, lambda pair: swaps[pair].table(variance)),
        (curve_out, lambda pair: swaps[pair].curve(sampled)),
        (pooling_out, lambda pair: pools[pair].table(sampled)),
    ):
        for pair, file in files:
            write_table(file, make(pair), {"config_hash": hashes.get(pair, ""), "threshold": threshold})


def _pass(
    saes: dict[str, SAE], swaps: dict[str, Substitution], pools: dict[str, Pooling], data: reader.Chunk, device: str
) -> tuple[float, float]:
    """Pass all rows through all pairs: the variance sum of the rows, and of the sampled ones."""
    spread, sampled_spread = Variance(data.mean.to(device)), Variance(data.mean.to(device))
    step, first = max(1, data.rows // _SAMPLED_ROWS), 0
    for x in blocks(data, max(sae.n_latents for sae in saes.values())):
        x = x.to(device)
        seen = {name: see(sae, x) for name, sae in saes.items()}
        spread.add(x)
        for pair, swap in swaps.items():
            swap.add(*(seen[name] for name in pair.split("-")))
        # The sampled rows go on evenly from block to block.
        some = torch.arange(-first % step, len(x), step, device=device)
        first += len(x)
        sampled_spread.add(x[some])
        fewer = {name: _at(side, some) for name, side in seen.items()}
        for pair, swap in swaps.items():
            swap.add_to_curve(*(fewer[name] for name in pair.split("-")))
        for pair, pool in pools.items():
            pool.add(*(fewer[name] for name in pair.split("-")))
    return spread.total(), sampled_spread.total()


def blocks(data: reader.Chunk, n_latents: int) -> Iterator[torch.Tensor]:
    """Yield all rows, (rows, d_model) float32, few enough at a time for dense activations of so many latents."""
    for rows, _ in stored_rows(data.path):
        yield from rows.split(max(_BLOCK_ROWS, _BLOCK_ENTRIES // n_latents))


def _at(side: Seen, chosen: torch.Tensor) -> Seen:
    """An SAE on some rows of a block, which are then numbered 0, 1, 2 ..."""
    number = torch.full((len(side.error),), -1, device=chosen.device)
    number[chosen] = torch.arange(len(chosen), device=chosen.device)
    kept = number[side.rows] >= 0
    firings = (number[side.rows], side.latents, side.values)
    return Seen(side.sae, *(part[kept] for part in firings), side.error[chosen], side.along[kept])


class Variance:
    """Adds up the squared distances of rows from their own mean; a `shift` near it avoids cancellation."""

    def __init__(self, shift: torch.Tensor) -> None:
        self._shift, self._sum, self._squares, self._rows = shift, torch.zeros_like(shift).double(), 0.0, 0

    def add(self, x: torch.Tensor) -> None:
        """Add rows x (rows, d_model)."""
        moved = x - self._shift
        self._sum += moved.sum(0, dtype=torch.float64)
        self._squares += float(moved.square().sum(dtype=torch.float64))
        self._rows += len(x)

    def total(self) -> float:
        """The sum of the squared distances."""
        return self._squares - float(self._sum.square().sum()) / max(self._rows, 1)


def _check_names(saes: dict, matches: dict, wanted: list[str]) -> None:
    """Refuse a pair whose match or SAEs are not given."""
    for pair in wanted:
        if pair not in matches or pair.count("-") != 1:
            raise StudyError(f"substitution: --out {pair} needs --match {pair}=FILE; a pair is written A-B")
        if missing := [name for name in pair.split("-") if name not in saes]:
            raise StudyError(f"substitution: no SAE is called {missing[0]}; --sae gives {', '.join(saes)}")
