"""Similarity in tiles by torch, for CUDA devices: the same lists as `candidates` gives, ties apart."""

import contextlib
import logging
import threading

import numpy as np

from sae_stability.match.candidates import Best
from sae_stability.match.rows import rounding_margin

ROWS = 2048  # rows of a tile; its columns are as many as TILE_ENTRIES leaves
TILE_ENTRIES = 2**28  # 1 GiB of float32
COLUMNS = 8192  # columns priced at a time


def available(device: str) -> bool:
    """Whether torch can compute on `device`; says so once where it cannot, and the CPU is used instead."""
    import torch

    if torch.device(device).type != "cuda" or torch.cuda.is_available():
        return True
    logging.getLogger(__name__).warning("no CUDA device here: matching on the CPU instead, with the same result")
    return False


class Torch:
    """Products by torch on one device, in full float32 (no TF32: the proof counts on float32 rounding)."""

    def __init__(self, device: str):
        self.device = device
        self.held: dict[int, tuple] = {}  # arrays, so that they stay, and their copies on the device
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def session(self):
        """What a matching is to happen in: full precision, whatever the program around has chosen."""
        import torch

        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            self.held.clear()

    def best_partners(self, a, b, keep_a: int, keep_b: int, *, threads: int, progress=None) -> tuple[Best, Best]:
        """The `keep_a` best partners in `b` of each row of `a`, and the other way round; see `candidates`."""

        return self._lists(self._held(a), self._held(b), keep_a, keep_b, progress)

    def tiles(self, a, b, rows, columns, limit, low):
        """As `cpu_products.tiles`, without the columns that hold nothing of interest, which are nearly all."""
        import torch

        given = self._held(a)[torch.from_numpy(rows).to(self.device)]
        limit = torch.from_numpy(limit).to(self.device)[:, None]
        for start in range(0, columns.size, COLUMNS):
            some, low_v = columns[start : start + COLUMNS], low[start : start + COLUMNS]
            tile = given @ self._held(b)[torch.from_numpy(some).to(self.device)].T
            kept = (tile - limit > torch.from_numpy(low_v).to(self.device)).any(0).nonzero()[:, 0]
            place = kept.cpu().numpy()
            if place.size:
                yield tile[:, kept].cpu().numpy(), some[place], low_v[place]

    def _held(self, array: np.ndarray):
        """The array on the device; there is one copy, however often it is asked for."""
        import torch

        with self.lock:
            if id(array) not in self.held:
                self.held[id(array)] = array, torch.from_numpy(array).to(self.device)
            return self.held[id(array)][1]

    def _lists(self, a, b, keep_a: int, keep_b: int, progress) -> tuple[Best, Best]:
        import torch

        n, m = len(a), len(b)
        value_b = torch.full((keep_b, m), -np.inf, device=self.device)
        partner_b = torch.zeros((keep_b, m), dtype=torch.int32, device=self.device)
        values, partners = [], []
        width = max(keep_a, TILE_ENTRIES // ROWS)
        for start in range(0, n, ROWS):
            rows = a[start : start + ROWS]
            value = torch.empty((len(rows), 0), device=self.device)
            partner = torch.empty((len(rows), 0), dtype=torch.int32, device=self.device)
            for first in range(0, m, width):
                tile = rows @ b[first : first + width].T
                value, partner = _best(value, partner, tile, first, keep_a, dim=1)
                span = slice(first, first + width)
                value_b[:, span], partner_b[:, span] = _best(
                    value_b[:, span], partner_b[:, span], tile, start, keep_b, dim=0
                )
            values.append(value.cpu())
            partners.append(partner.cpu())
            if progress is not None:
                progress(min(start + ROWS, n) / n)
        return (
            _listed(torch.cat(values), torch.cat(partners), m, a.shape[1]),
            _listed(value_b.T.cpu(), partner_b.T.cpu(), n, a.shape[1]),
        )


def _best(value, partner, tile, first: int, keep: int, dim: int):
    """The `keep` best along `dim` of those listed so far and those in a tile whose partners start at `first`."""
    import torch

    new, place = tile.topk(min(keep, tile.shape[dim]), dim=dim)
    value = torch.cat((value, new), dim=dim)
    partner = torch.cat((partner, (place + first).to(torch.int32)), dim=dim)
    value, place = value.topk(min(keep, value.shape[dim]), dim=dim)
    return value, partner.gather(dim, place)


def _listed(value, partner, others: int, d_model: int) -> Best:
    """Lists as `candidates.Best`; `others` is how many partners there are in all."""
    value, partner = value.contiguous().numpy(), partner.contiguous().numpy()
    n, keep = value.shape
    best = Best.empty(n, keep, rounding_margin(d_model))
    best.value[:, :keep], best.partner[:, :keep] = value, partner
    best.count[:] = keep
    best.bound[:] = -np.inf if keep == others else value[:, -1]
    return best
