"""Two SAEs with random weights that have some latents in common, and rows for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sae_stability.files import read_json, read_table
from sae_stability.sae import formats, load
from sae_stability.sae.weights import Weights
from sae_stability.stitch.job import stitch
from tests.sae.training.chunks import planted_rows, write_chunk

D, SMALL, LARGE, ROWS = 10, 6, 14, 700
THRESHOLD = 0.7
TABLES = ("insertions", "components", "swaps", "roc", "path", "reconstruction")

# What an SAE of each architecture is when it is in use, and two SAEs made elsewhere with preprocessing of their own.
KINDS = {
    "topk": {"activation": "topk", "k": 3},
    "batchtopk": {"activation": "jumprelu", "threshold": 0.4},
    "relu": {"activation": "relu"},
    "gated": {"activation": "gated"},
    "jumprelu": {"activation": "jumprelu", "threshold": None},
    "layer": {"activation": "jumprelu", "threshold": 0.2, "input_norm": "layer", "subtract_decoder_bias": False},
    "unit": {"activation": "topk", "k": 2, "input_norm": "unit"},
}
"""Matryoshka SAEs in use are BatchTopK SAEs."""


@dataclass
class Stitched:
    """A pair of SAEs, the rows, and what the job wrote."""

    small: object
    large: object
    x: np.ndarray
    folder: Path
    facts: dict
    insertions: object
    components: object
    swaps: object
    roc: object
    path: object
    reconstruction: object


def weights(rows: np.ndarray, kind: str, rng: np.random.Generator) -> Weights:
    settings, n = dict(KINDS[kind]), len(rows)
    encoder = (rows + 0.1 * rng.standard_normal(rows.shape)).astype(np.float32)
    bias = 0.1 * rng.standard_normal(n).astype(np.float32)
    if "threshold" in settings:
        common = settings["threshold"]
        settings["threshold"] = rng.random(n).astype(np.float32) if common is None else np.full(n, common, np.float32)
    if kind == "gated":
        settings |= {"gate_bias": bias - 0.2, "log_magnitude": 0.3 * rng.standard_normal(n).astype(np.float32)}
    return Weights(encoder, rows, bias, (0.3 + 0.1 * rng.standard_normal(D)).astype(np.float32), **settings)


def directions() -> tuple[np.ndarray, np.ndarray]:
    """Decoder rows: the first latents of the large SAE are near-copies of those of the small one, two of latent 0."""
    rng = np.random.default_rng(1)
    small, large = rng.standard_normal((SMALL, D)), rng.standard_normal((LARGE, D))
    large[:4] = small[[0, 0, 1, 2]] + 0.2 * rng.standard_normal((4, D))
    return tuple((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in (small, large))


def run(folder: Path, kind: str, **settings) -> Stitched:
    rng, (small, large) = np.random.default_rng(2), directions()
    for name, rows in (("small", small), ("large", large)):
        formats.write(folder / name, weights(rows, kind, rng), "own")
    x = planted_rows(large, ROWS, active=3, seed=3)
    chunk = write_chunk(folder / "heldout", x)
    saes = [("0", folder / "small"), ("1", folder / "large")]
    stitch(sae=saes, chunk=chunk, out=[("0-1", folder / "out")], threads=2, **settings)
    tables = {name: read_table(folder / "out" / f"{name}.parquet")[0] for name in TABLES}
    loaded = [load(path) for _, path in saes]
    return Stitched(*loaded, x, folder / "out", read_json(folder / "out" / "stitch.json"), **tables)


@pytest.fixture(scope="module", params=KINDS)
def each(request, tmp_path_factory) -> Stitched:
    return run(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def relu(tmp_path_factory) -> Stitched:
    return run(tmp_path_factory.mktemp("relu"), "relu")
