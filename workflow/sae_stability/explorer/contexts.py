"""Contexts of latents, in chunks that a page loads when it shows one of their latents."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sae_stability.files import read_sealed

LATENTS_PER_CHUNK = 64
_SPLITS = ("explain", "score")
_COLUMNS = ["latent", "stratum", "split", "block", "position", "pieces", "activations"]
_TOP_TOKENS = 5


class Contexts:
    """The table of contexts of one SAE.

    Args:
        path: the table; a row a context, by latent.

    Raises:
        StudyError: the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._table = pq.read_table(pa.BufferReader(read_sealed(path)), columns=_COLUMNS)
        self._latents = self._table["latent"].to_numpy()

    def chunks(self, n_latents: int) -> Iterator[tuple[dict, dict[int, list[str]]]]:
        """For each chunk of latents, what the page reads and each latent's top tokens.

        The first holds `windows`, each text once (block, position, pieces), and `latents`, for each latent its
        contexts: stratum, split (0: explain, 1: score), number of the window, places at which it fires, activations
        there.
        """
        for first in range(0, n_latents, LATENTS_PER_CHUNK):
            start, stop = np.searchsorted(self._latents, [first, first + LATENTS_PER_CHUNK])
            yield _chunk(self._table.slice(start, stop - start).to_pydict())


def _chunk(rows: dict[str, list]) -> tuple[dict, dict[int, list[str]]]:
    windows: dict[tuple[int, int], int] = {}
    texts, latents, tokens = [], {}, {}
    for latent, stratum, split, block, position, pieces, activations in zip(*rows.values(), strict=True):
        number = windows.setdefault((block, position), len(windows))
        if number == len(texts):
            texts.append([block, position, pieces])
        places = [place for place, value in enumerate(activations) if value]
        values = [float(f"{activations[place]:.4g}") for place in places]
        latents.setdefault(latent, []).append([stratum, _SPLITS.index(split), number, places, values])
        if stratum == "top" and places:
            tokens.setdefault(latent, Counter())[pieces[max(places, key=lambda place: abs(activations[place]))]] += 1
    top = {latent: [piece for piece, _ in counted.most_common(_TOP_TOKENS)] for latent, counted in tokens.items()}
    return {"windows": texts, "latents": latents}, top
