"""The squared error after latents are added to an SAE and taken out of it, without running any SAE again.

The stitched SAE of a set of latents of each SAE (equation 5 of the paper) is

    x_hat = (1 - share) b_small + share b_large + sum of the contributions of these latents,

where a latent contributes what it contributes in its own whole SAE: its activation times its decoder row. So a change
of a few latents changes the error of the few rows on which they fire, and the bias, which is the same for all.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from sae_stability.compiled import cached_njit
from sae_stability.firing.substitution import fire
from sae_stability.sae.model import SAE

Bias = Literal["count", "small", "large"]
"""Whose decoder bias a stitched SAE has: mixed by the count of latents, or that of one SAE."""

_PARTS = 4  # parts of a block, added up one after the other: sums do not depend on the number of threads


@dataclass(frozen=True)
class Side:
    """One of two SAEs on a block of rows.

    Attributes:
        rows, latents: (firings,) int64, ordered by row. values: (firings,) float32, in units of the decoder row.
        error: (rows, d_model) float32: the activations less their reconstruction.
        constant: (rows or 1, d_model) float32: the reconstruction without latents, which is the bias for most SAEs.
    """

    rows: np.ndarray
    latents: np.ndarray
    values: np.ndarray
    error: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, sae: SAE, x: torch.Tensor) -> "Side":
        """Run an SAE on rows x (rows, d_model). Dense activations exist while this runs."""
        found = fire(sae, x)
        constant = sae.decoder_bias[None]
        if sae.input_norm != "none" or "skip" in sae.extras:
            constant = sae.reconstruct(torch.zeros(len(x), sae.n_latents, device=x.device), x)
        return cls(*(part.numpy(force=True) for part in (*found, constant)))


def bias_share(rule: Bias, kept: np.ndarray, added: np.ndarray) -> np.ndarray:
    """The share of the large SAE's bias, for so many latents of the small one and of the large one."""
    if rule == "count":
        return added / np.maximum(kept + added, 1)
    return np.full(np.shape(added), float(rule == "large"))


class Changes:
    """Adds up the squared errors of many changes of the small SAE, a block of rows at a time.

    Args:
        small, large: decoders, (n_small, d_model) and (n_large, d_model) float32.
        taken: (n_small,) int64: the change that takes each latent of the small SAE out; -1: none.
        added: (n_large,) int64: the change that adds each latent of the large SAE; -1: none.
        n: number of changes.
        apart: whether each change is one of the small SAE; if not, each one goes on from those before it.
    """

    def __init__(
        self, small: np.ndarray, large: np.ndarray, taken: np.ndarray, added: np.ndarray, n: int, *, apart: bool
    ) -> None:
        self._decoders, self._n, self._apart = (small, large), n, apart
        self._sizes = tuple((decoder.astype(np.float64) ** 2).sum(1) for decoder in self._decoders)
        self._change = (np.asarray(taken, np.int64), np.asarray(added, np.int64))
        # Error without the change of bias, squared; its product with that change; and the change, squared.
        self._square, self._along, self._fired = np.zeros((3, n))
        self._start, self._along_start, self._bias = 0.0, 0.0, 0.0
        self._fired_start = 0
        self.rows = 0

    def add(self, small: Side, large: Side, pool: ThreadPoolExecutor) -> None:
        """Add a block of rows that both SAEs have seen."""
        parts = [(side.rows, side.latents, sign * side.values) for side, sign in ((small, -1), (large, 1))]
        change = np.concatenate([of[part[1]] for of, part in zip(self._change, parts, strict=True)])
        rows, latents, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        of_large = np.arange(len(rows)) >= len(small.rows)
        order = np.lexsort((change, rows))
        order = order[change[order] >= 0]
        rows, change, values = rows[order], change[order], values[order]
        latents, of_large = latents[order], of_large[order]
        n, d_model = small.error.shape
        bias = np.ascontiguousarray(np.broadcast_to(large.constant - small.constant, (n, d_model)))
        starts = np.searchsorted(rows, np.arange(n + 1))

        def compute(bounds: tuple[int, int]) -> np.ndarray:
            sums = np.zeros((2, self._n))
            first, last = bounds
            _add_up(
                *(starts[first : last + 1], change, latents, values, of_large),
                *(*self._decoders, *self._sizes, small.error[first:last].copy(), bias[first:last], sums, self._apart),
            )
            return sums

        edges = np.linspace(0, n, _PARTS + 1).astype(int).tolist()
        for square, along in pool.map(compute, itertools.pairwise(edges)):
            self._square += square
            self._along += along
        self._fired += np.bincount(change, weights=np.where(of_large, 1, -1), minlength=self._n)
        self._start += float(np.square(small.error, dtype=np.float64).sum())
        self._along_start += float((small.error.astype(np.float64) * bias).sum())
        self._bias += float(np.square(bias, dtype=np.float64).sum())
        self._fired_start += len(small.rows)
        self.rows += n

    def squared_errors(self, share: np.ndarray) -> np.ndarray:
        """The sum of squared errors after each change, (n,), with such a `share` (n,) of the large SAE's bias."""
        square, along = (total if self._apart else total.cumsum() for total in (self._square, self._along))
        return self._start + square - 2 * share * (self._along_start + along) + share**2 * self._bias

    def start(self, share: float) -> float:
        """The sum of squared errors of the small SAE with such a `share` of the large SAE's bias."""
        return self._start - 2 * share * self._along_start + share**2 * self._bias

    @property
    def l0(self) -> np.ndarray:
        """The mean number of latents that fire on a row after each change, (n,)."""
        fired = self._fired if self._apart else self._fired.cumsum()
        return (self._fired_start + fired) / max(self.rows, 1)

    @property
    def l0_start(self) -> float:
        """The mean number of latents of the small SAE that fire on a row."""
        return self._fired_start / max(self.rows, 1)


@cached_njit(nogil=True, fastmath={"reassoc", "contract"})
def _add_up(starts, change, latents, values, of_large, small, large, size_small, size_large, error, bias, sums, apart):
    """For each row: apply its changes in order to its error, and add what they change to the two `sums`.

    With contribution c, the squared error changes by -2 c error + c c, and its product with the bias by -c bias.
    """
    d = error.shape[1]
    now = np.empty(d, np.float32)
    for row in range(error.shape[0]):
        now[:] = error[row]
        for e in range(starts[row], starts[row + 1]):
            decoder = large[latents[e]] if of_large[e] else small[latents[e]]
            size = size_large[latents[e]] if of_large[e] else size_small[latents[e]]
            value = values[e]
            along, shifted = np.float32(0), np.float32(0)
            for k in range(d):
                along += decoder[k] * now[k]
                shifted += decoder[k] * bias[row, k]
            sums[0, change[e]] += value * (value * size - 2.0 * along)
            sums[1, change[e]] -= value * shifted
            goes_on = e + 1 < starts[row + 1] and change[e + 1] == change[e]
            if not apart or goes_on:
                for k in range(d):
                    now[k] -= value * decoder[k]
            elif e > starts[row] and change[e - 1] == change[e]:
                now[:] = error[row]
