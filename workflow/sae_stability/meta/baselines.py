"""Meta-SAEs beside simpler descriptions of the same decoder rows, equal in size and in sparsity."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sae_stability.meta.decoder_rows import unit_rows
from sae_stability.meta.pursuit import principal, pursuit
from sae_stability.random_streams import stream
from sae_stability.sae.model import SAE
from sae_stability.sae.training.fixed_decoder import retrained

_ENCODED = 4096  # rows encoded at a time

Row = tuple[str, str, int, int, float, float, float]
"""Dictionary, encoder, latents, distinct directions, L0, and variance explained: mean subtracted, and not."""

COLUMNS = ("dictionary", "encoder", "n_latents", "n_directions", "l0", "explained", "explained_uncentred")


def compared(meta: SAE, chunk: Path, rows: np.ndarray, lent: dict[str, np.ndarray], threads: int) -> Iterator[Row]:
    """Yield how well a meta-SAE and each baseline describe the rows that it was trained on.

    Baselines have the directions of a smaller SAE, those nearest to the meta-SAE's, or random ones. Their encoder is
    the meta-SAE's ("kept"), is trained for them as the meta-SAE was ("retrained"), or is orthogonal matching pursuit of
    k directions ("pursuit"). Principal components are as many as fire on a row, and as many as there are meta-latents.

    Args:
        meta: a meta-SAE that was trained here.
        chunk: folder of the rows that it was trained on.
        rows: these rows, (n, d) float32.
        lent: name of a smaller SAE -> its decoder rows, (m, d) of norm 1.
        threads: processor cores to use.
    """
    mean, k, size = rows.mean(axis=0, dtype=np.float64).astype(np.float32), meta.cfg["k"], meta.n_latents
    centred = rows - mean
    trained = unit_rows(meta.decoder.numpy())
    dictionaries = {name: _nearest(trained, directions) for name, directions in lent.items()}
    random = np.random.default_rng(stream("meta", "random directions", meta.cfg["init_seed"]))
    dictionaries["random directions"] = unit_rows(random.standard_normal(trained.shape))

    def row(dictionary: str, encoder: str, directions: np.ndarray, l0: float, described: np.ndarray) -> Row:
        distinct = len(np.unique(directions, axis=0))
        return dictionary, encoder, len(directions), distinct, l0, *explained(rows, described)

    yield row("meta-SAE", "trained", trained, *_through(meta, rows))
    yield row("meta-SAE", "pursuit", trained, k, pursuit(centred, trained, k) + mean)
    for name, directions in dictionaries.items():
        kept = SAE(dataclasses.replace(meta.weights, decoder=directions))
        yield row(name, "kept", directions, *_through(kept, rows))
        yield row(name, "retrained", directions, *_through(retrained(meta.cfg, directions, chunk, threads), rows))
        yield row(name, "pursuit", directions, k, pursuit(centred, directions, k) + mean)
    for name, rank in (("k", k), ("n_latents", size)):
        described = principal(centred, rank) + mean
        yield "principal components", f"rank {name}", rank, rank, rank, *explained(rows, described)


def explained(rows: np.ndarray, described: np.ndarray) -> tuple[float, float]:
    """Variance explained, 1 - sum ||x - x_hat||^2 / sum ||x - mean||^2, and the same without subtracting the mean."""
    left = float(np.square(rows - described, dtype=np.float64).sum())
    about_mean = float(np.square(rows - rows.mean(axis=0, dtype=np.float64)).sum())
    return 1 - left / about_mean, 1 - left / float(np.square(rows, dtype=np.float64).sum())


def _through(sae: SAE, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """L0 of an SAE on rows (n, d), and its reconstructions."""
    parts, fired = [], 0
    for some in torch.from_numpy(rows).split(_ENCODED):
        latents = sae.encode(some)
        fired += int((latents != 0).sum())
        parts.append(sae.reconstruct(latents, some).numpy())
    return fired / len(rows), np.concatenate(parts)


def _nearest(rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """For each row (n, d) the direction of (m, d) with the largest cosine, (n, d); some may be taken twice."""
    return directions[(rows @ directions.T).argmax(axis=1)]
