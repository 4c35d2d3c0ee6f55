"""The random floor: the matching of two random dictionaries, which share nothing, of the same shape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sae_stability.match.pairs import SIDES, pair_progress, write_match
from sae_stability.one_each import check_one_each
from sae_stability.random_streams import stream
from sae_stability.ranges import Count, Index


def write_floors(
    *,
    n_latents: Count,
    d_model: Count,
    rep: Sequence[Index],
    out: Sequence[Path],
    config_hash: str = "",
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Match pairs of random dictionaries, one pair for each repeat, with a progress bar on stderr.

    Args:
        n_latents: rows of each dictionary.
        d_model: width of each row.
        rep: number of the repeat; give it once for each pair.
        out: match file to write; once for each --rep, in the same order.
        config_hash: fingerprint of the settings and code behind the floor, recorded in the files.
        threads: processor cores to use.
        device: where to compute.

    Raises:
        StudyError: `rep` and `out` differ in length.
    """
    check_one_each(len(rep), "repeats", out=out)
    for number, path, progress in zip(rep, out, pair_progress("floor", len(rep)), strict=True):
        write_floor(
            n_latents=n_latents,
            d_model=d_model,
            rep=number,
            out=path,
            config_hash=config_hash,
            threads=threads,
            device=device,
            progress=progress,
        )


def write_floor(
    *,
    n_latents: int,
    d_model: int,
    rep: int,
    out: Path,
    config_hash: str = "",
    threads: int | None = None,
    device: str | None = None,
    progress=None,
) -> None:
    """Match two random dictionaries and write a match file.

    Rows are Gaussian, so their directions are uniform on the sphere; encoder and decoder are drawn independently.
    `overlap_tables` reads the file as it reads the match of two trained SAEs.

    Raises:
        StudyError: the file cannot be written.
    """
    a, b = ({side: random_rows(n_latents, d_model, rep, name, side) for side in SIDES} for name in "ab")
    alive = np.ones(n_latents, bool)
    metadata = {name: {"cohort": "floor", "seed": rep, "config_hash": None} for name in "ab"}
    metadata["config_hash"] = config_hash
    write_match(out, a, b, alive, alive, metadata, threads=threads, device=device, progress=progress)


def random_rows(n_latents: int, d_model: int, rep: int, name: str, side: str) -> np.ndarray:
    """One side of a random dictionary, (n_latents, d_model) float32: "encoder" or "decoder" of `name`, "a" or "b"."""
    generator = np.random.default_rng(stream("floor", n_latents, d_model, rep, name, side))
    return generator.standard_normal((n_latents, d_model), dtype=np.float32)
