"""Products by torch on a CUDA device: the same lists as those of `cpu_products`, except among ties."""

import contextlib
import logging
import re
import threading

import numpy as np

from sae_stability.errors import StudyError, naming_missing_extra
from sae_stability.match.candidates import PartnerLists
from sae_stability.match.rows import rounding_margin

ROWS = 2048  # rows of a tile; it has TILE_ENTRIES / ROWS columns
TILE_ENTRIES = 2**28  # 1 GiB of float32
COLUMNS = 8192  # columns of a tile in the check of all pairs


def available(device: str) -> bool:
    """Whether torch finds this CUDA device; logs a warning where it finds none at all.

    Raises:
        StudyError: `device` is no name of a CUDA device, or there are fewer of them.
    """
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise StudyError(f"device: {device!r} given; rows are matched on 'cpu', 'cuda' or 'cuda:N'")
    with naming_missing_extra():
        import torch

    if torch.cuda.is_available():
        if (torch.device(device).index or 0) >= torch.cuda.device_count():
            raise StudyError(f"device: {device!r} given; this machine has {torch.cuda.device_count()} CUDA devices")
        return True
    logging.getLogger(__name__).warning("no CUDA device found: matching on the CPU instead, with the same result")
    return False


class TorchProducts:
    """Products by torch on one device, in full float32 (no TF32, because the proof assumes float32 rounding)."""

    def __init__(self, device: str):
        self.device = device
        self.copies: dict[int, tuple] = {}  # by id: the array, which keeps its id taken, and its copy on the device
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def session(self):
        """Run a matching in full float32, whatever precision the program has set; then drop the copies."""
        import torch

        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            self.copies.clear()

    def best_partners(
        self, a, b, keep_a: int, keep_b: int, *, threads: int, progress=None
    ) -> tuple[PartnerLists, PartnerLists]:
        """See `cpu_products.BlasProducts.best_partners`; `threads` is ignored."""
        return self._lists(self._on_device(a), self._on_device(b), keep_a, keep_b, progress)

    def tiles(self, a, b, rows, columns, limit, low):
        """As `cpu_products.tiles`, but without the columns that the caller does not need, which are nearly all."""
        import torch

        chosen = self._on_device(a)[torch.from_numpy(rows).to(self.device)]
        limit = torch.from_numpy(limit).to(self.device)[:, None]
        for start in range(0, columns.size, COLUMNS):
            block, low_v = columns[start : start + COLUMNS], low[start : start + COLUMNS]
            tile = chosen @ self._on_device(b)[torch.from_numpy(block).to(self.device)].T
            kept = (tile - limit > torch.from_numpy(low_v).to(self.device)).any(0).nonzero()[:, 0]
            place = kept.cpu().numpy()
            if place.size:
                yield tile[:, kept].cpu().numpy(), block[place], low_v[place]

    def _on_device(self, array: np.ndarray):
        """The copy of `array` on the device, made on first use."""
        import torch

        with self.lock:
            if id(array) not in self.copies:
                self.copies[id(array)] = array, torch.from_numpy(array).to(self.device)
            return self.copies[id(array)][1]

    def _lists(self, a, b, keep_a: int, keep_b: int, progress) -> tuple[PartnerLists, PartnerLists]:
        """The lists of both sides; `a` and `b` are on the device."""
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
                value, partner = _merged(value, partner, tile, first, keep_a, dim=1)
                span = slice(first, first + width)
                value_b[:, span], partner_b[:, span] = _merged(
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


def _merged(value, partner, tile, first: int, keep: int, dim: int):
    """The `keep` largest along `dim` of the products so far and those of a tile, whose first partner is `first`."""
    import torch

    new, place = tile.topk(min(keep, tile.shape[dim]), dim=dim)
    value = torch.cat((value, new), dim=dim)
    partner = torch.cat((partner, (place + first).to(torch.int32)), dim=dim)
    value, place = value.topk(min(keep, value.shape[dim]), dim=dim)
    return value, partner.gather(dim, place)


def _listed(value, partner, n_partners: int, d_model: int) -> PartnerLists:
    """Sorted lists as `PartnerLists`, chosen from `n_partners` partners."""
    value, partner = value.contiguous().numpy(), partner.contiguous().numpy()
    n, keep = value.shape
    best = PartnerLists.empty(n, keep, rounding_margin(d_model))
    best.value[:, :keep], best.partner[:, :keep] = value, partner
    best.count[:] = keep
    best.bound[:] = -np.inf if keep == n_partners else value[:, -1]
    return best
