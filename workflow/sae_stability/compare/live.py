"""Which latents fire on activations that a person gives, and how well an SAE reconstructs those."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.activations.matrix import open_matrix
from sae_stability.errors import StudyError
from sae_stability.sae.model import SAE
from sae_stability.sae.weights import Weights

_BLOCK_ENTRIES = 1 << 22  # latent activations held at once, 16 MiB


@dataclass(frozen=True)
class OnRows:
    """An SAE on some rows.

    Attributes:
        alive: (n_latents,) bool, which latents fire on any row.
        fvu: sum of squared errors over the sum of squared distances from the mean row.
        l0: mean number of latents that fire on a row.
        rows: number of rows.
    """

    alive: np.ndarray
    fvu: float
    l0: float
    rows: int


def measure(weights: Weights, activations: Path) -> OnRows:
    """Pass rows through an SAE.

    Args:
        weights: the SAE.
        activations: matrix (.npy, .safetensors or .parquet), or folder of a chunk of activations.

    Raises:
        StudyError: there are no such rows, none at all, or they have another width than the SAE.
    """
    read, width, shift = _opened(activations)
    if width != weights.d_model:
        raise StudyError(f"{activations}: rows have width {width}, but the SAEs have width {weights.d_model}")
    sae = SAE(weights)
    fired = torch.zeros(sae.n_latents, dtype=torch.int64)
    total, squares, error, rows = torch.zeros(width, dtype=torch.float64), 0.0, 0.0, 0
    with torch.inference_mode():
        for block in read():
            for x in block.float().split(max(1, _BLOCK_ENTRIES // sae.n_latents)):
                latents = sae.encode(x)
                fired += (latents != 0).sum(0)
                error += float((sae.reconstruct(latents, x) - x).square().sum(dtype=torch.float64))
                moved = x - shift
                squares += float(moved.square().sum(dtype=torch.float64))
                total += moved.sum(0, dtype=torch.float64)
                rows += len(x)
    if not rows:
        raise StudyError(f"{activations}: holds no row; give some")
    variance = squares - float(total.square().sum()) / rows
    return OnRows((fired > 0).numpy(), error / variance if variance > 0 else np.nan, int(fired.sum()) / rows, rows)


def _opened(activations: Path) -> tuple[Callable[[], Iterator[torch.Tensor]], int, torch.Tensor]:
    """What reads the rows, their width, and a row near their mean: with it the variance is not cancelled away."""
    if activations.is_dir():
        chunk = reader.Chunk(activations)
        return (lambda: (rows for rows, _ in reader.rows(activations))), chunk.d_model, chunk.mean
    matrix = open_matrix(activations)
    shift = matrix.slice(0, min(1, matrix.rows)).float().sum(0)
    return (lambda: (rows for _, rows in matrix.read(0, matrix.rows))), matrix.width, shift
