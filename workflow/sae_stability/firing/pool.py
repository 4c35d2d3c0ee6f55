"""The pool: windows of text that all SAEs of a hookpoint have in common, and which latents fire in each.

Contexts are chosen for each latent apart, so two latents hardly share one. In windows of the pool it is known of every
latent whether it fires: they are the texts in which none of several matched latents does.
"""

import numpy as np
import pyarrow as pa

from sae_stability.firing.firings import Firings
from sae_stability.firing.windows import Windows
from sae_stability.random_streams import stream


def pool_table(firings: Firings, windows: Windows, size: int, seed: int) -> pa.Table:
    """One row a window of the pool, by place: the same windows for every SAE that sees the same rows.

    Columns: `block`; `position`: place of the first token in the block; and the lists `tokens` and `pieces` of text,
    over the window's tokens, and `latents`, those that fire in it, ascending.

    Args:
        firings: of an SAE.
        windows: of the text that it fired on.
        size: how many windows; all if there are no more.
        seed: of the draw.
    """
    order = np.random.default_rng(stream("pool", seed)).permutation(len(windows.seen))
    chosen = np.sort(windows.seen[order[:size]]).astype(np.int64)
    window, latent = _fired(firings, windows, chosen)
    places = windows.token_places(chosen)
    tokens = np.concatenate([[0], np.cumsum(windows.lengths(chosen))]).astype(np.int32)
    fired = np.concatenate([[0], np.cumsum(np.bincount(window, minlength=len(chosen)))]).astype(np.int32)
    lists = {
        "tokens": (tokens, pa.array(windows.tokens(places), pa.int32())),
        "pieces": (tokens, windows.pieces(places)),
        "latents": (fired, pa.array(latent, pa.int32())),
    }
    plain = {
        "block": pa.array(windows.block(chosen), pa.int64()),
        "position": pa.array(windows.position(chosen), pa.int64()),
    }
    return pa.table(plain | {name: pa.ListArray.from_arrays(*parts) for name, parts in lists.items()})


def _fired(firings: Firings, windows: Windows, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which latent fires in which chosen window: the window's place among them and the latent, ordered by both."""
    place = np.full(int(windows.seen[-1]) + 1, -1)
    place[chosen] = np.arange(len(chosen))
    parts = []
    for latent in np.flatnonzero(firings.counts).tolist():
        found = np.unique(place[windows.of_row[firings[latent][0]]])
        found = found[found >= 0]
        parts.append(np.stack([found, np.full(len(found), latent)]))
    pairs = np.concatenate(parts, axis=1) if parts else np.empty((2, 0), np.int64)
    return tuple(pairs[:, np.argsort(pairs[0], kind="stable")])
