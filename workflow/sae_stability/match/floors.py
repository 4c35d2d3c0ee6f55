"""The random floor: what matching two dictionaries that share nothing gives at this shape."""

from pathlib import Path

import numpy as np

from sae_stability.match.pairs import SIDES, write_match
from sae_stability.seeds import stream


def write_floor(
    *, n_latents: int, d_model: int, rep: int, out: Path, threads: int | None = None, device: str | None = None
) -> None:
    """Match two random dictionaries and write a match file.

    Rows are Gaussian, so their directions are uniform on the sphere; encoder and decoder are drawn independently.
    The file passes through the same estimator as trained pairs do.
    """
    a, b = ({side: _random(n_latents, d_model, rep, name, side) for side in SIDES} for name in "ab")
    alive = np.ones(n_latents, bool)
    names = {name: {"cohort": "floor", "seed": rep, "config_hash": None} for name in "ab"}
    write_match(out, a, b, alive, alive, names, threads=threads, device=device)


def _random(n_latents: int, d_model: int, rep: int, name: str, side: str) -> np.ndarray:
    generator = np.random.default_rng(stream("floor", n_latents, d_model, rep, name, side))
    return generator.standard_normal((n_latents, d_model), dtype=np.float32)
