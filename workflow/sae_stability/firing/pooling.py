"""Does one SAE reconstruct better with latents of another seed beside its own, at the same number of firing latents?

On each row the candidates are the latents of A that fire and the firing latents of B that were added. As many of them
are kept as fire in A alone. They are chosen one by one, each time the one that lowers the squared error most, with the
activations of all chosen ones by least squares (orthogonal least squares; Chen, Billings and Luo 1989). Encoders that
were not trained together would choose badly, so no pool is judged by theirs; A alone gets the same least squares.

More candidates help by choice alone. So the unshared latents of B stand beside as many shared ones, and beside as many
random directions that fire where the unshared latents do.
"""

import numpy as np
import pandas as pd
import torch

from sae_stability.firing.substitution import Seen
from sae_stability.random_streams import stream

_BLOCK_ENTRIES = 1 << 22  # numbers of the candidates' decoder rows held at once


class Pooling:
    """Adds up the errors of one pair of SAEs with every pool, a block of rows at a time.

    Args:
        shared: (n_latents of B,) bool: the latents of B that are shared with A.
        decoder: decoder of B, (n_latents, d_model), whose rows the random directions are drawn beside.
    """

    def __init__(self, shared: np.ndarray, decoder: torch.Tensor) -> None:
        kinds = [np.flatnonzero(~shared), np.flatnonzero(shared)]
        size = min(map(len, kinds))
        rng = np.random.default_rng(stream("pooling", len(shared)))
        unshared, others = (np.sort(rng.choice(kind, size, replace=False)) for kind in kinds)
        noise = rng.standard_normal(decoder.shape).astype(np.float32)
        self._noise = torch.from_numpy(noise).to(decoder.device)
        self._pools = {
            "none": np.empty(0, np.int64),
            "unshared": unshared,
            "shared": others,
            "random directions": unshared,
            "all unshared": kinds[0],
        }
        self._losses = dict.fromkeys(self._pools, 0.0)
        self._candidates = dict.fromkeys(self._pools, 0)
        self._kept = self._rows = 0

    def add(self, a: Seen, b: Seen) -> None:
        """Add a block of rows that both SAEs have seen."""
        target = a.error.clone()
        target.index_add_(0, a.rows, a.values[:, None] * a.sae.decoder[a.latents])
        kept = torch.bincount(a.rows, minlength=len(target))
        self._kept, self._rows = self._kept + int(kept.sum()), self._rows + len(target)
        for name, pool in self._pools.items():
            added = torch.zeros(len(b.sae.decoder), dtype=torch.bool, device=b.rows.device)
            added[torch.from_numpy(pool)] = True
            chosen = added[b.latents]
            other = self._noise if name == "random directions" else b.sae.decoder
            dictionary = torch.nn.functional.normalize(torch.cat([a.sae.decoder, other]), dim=1)
            rows = torch.cat([a.rows, b.rows[chosen]])
            latents = torch.cat([a.latents, b.latents[chosen] + len(a.sae.decoder)])
            self._losses[name] += _loss(target, dictionary, rows, latents, kept)
            self._candidates[name] += len(rows)

    def table(self, variance: float) -> pd.DataFrame:
        """A row for each pool; `variance` is the variance sum of the rows that were added.

        Columns `pool`, `n_added` (latents of B), `candidates` and `l0` (a row has on average), `fvu`.
        """
        return pd.DataFrame(
            {
                "pool": list(self._pools),
                "n_added": [len(pool) for pool in self._pools.values()],
                "candidates": [count / self._rows for count in self._candidates.values()],
                "l0": self._kept / self._rows,
                "fvu": [loss / variance for loss in self._losses.values()],
            }
        )


def _loss(
    target: torch.Tensor, dictionary: torch.Tensor, rows: torch.Tensor, latents: torch.Tensor, kept: torch.Tensor
) -> float:
    """Squared error of `target` (rows, d_model) with `kept` (rows,) of each row's candidates.

    Args:
        target: what is to be reconstructed.
        dictionary: rows of norm 1, which `latents` number.
        rows, latents: the candidates.
        kept: how many candidates each row keeps.
    """
    counts = torch.bincount(rows, minlength=len(target))
    width = int(counts.max()) if len(rows) else 0
    if width == 0:
        return float(target.square().sum(dtype=torch.float64))
    order = rows.argsort(stable=True)
    rows, latents = rows[order], latents[order]
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    candidates = torch.full((len(target), width), len(dictionary), device=rows.device)
    candidates[rows, place] = latents
    padded = torch.cat([dictionary, torch.zeros_like(dictionary[:1])])
    size = max(1, _BLOCK_ENTRIES // (width * target.shape[1]))
    blocks = zip(target.split(size), candidates.split(size), kept.split(size), strict=True)
    return sum(_remaining(some, padded[which], number) for some, which, number in blocks)


def _remaining(target: torch.Tensor, atoms: torch.Tensor, kept: torch.Tensor) -> float:
    """Squared error after choosing `kept` (rows,) of the unit vectors `atoms` (rows, candidates, d_model)."""
    products = torch.bmm(atoms, atoms.mT)
    fit = torch.bmm(atoms, target[:, :, None])[:, :, 0]
    gained = torch.zeros(len(target), dtype=torch.float64, device=target.device)
    every = torch.arange(len(target), device=target.device)
    for step in range(min(int(kept.max()), atoms.shape[1])):
        # What is left of each candidate once the chosen ones are projected out of it.
        left = products.diagonal(dim1=1, dim2=2)
        gain = torch.where(left > 1e-4, fit**2 / left.clamp(min=1e-4), 0)
        best_gain, best = gain.max(1)
        gained += torch.where(step < kept, best_gain, 0).double()
        column = products[every, best]
        scale = torch.where(best_gain > 0, 1 / left[every, best].clamp(min=1e-4), 0)
        fit = fit - column * (fit[every, best] * scale)[:, None]
        products = products - column[:, :, None] * (column * scale[:, None])[:, None, :]
    return float((target.double().square().sum(1) - gained).sum())
