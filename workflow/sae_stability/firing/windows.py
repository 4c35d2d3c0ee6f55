"""Token blocks cut into windows, the pieces of text that contexts show."""

import functools

import numpy as np
import pyarrow as pa

from sae_stability.firing.heldout import Texts
from sae_stability.firing.pieces import pieces
from sae_stability.models.tokenizer import load_tokenizer


class Windows:
    """The windows of held-out blocks. Each block is cut into windows of `size` tokens; the last one may be shorter.

    Windows are numbered through all blocks. They hold special tokens too, but no padding.

    Attributes:
        per_block: windows a block.
        seen: numbers of the windows with at least one row, ascending.
        of_row: number of the window of each row, (rows,) int32, ascending.
    """

    def __init__(self, texts: Texts, token_index: np.ndarray, size: int) -> None:
        """The rows are the tokens of `texts` at `token_index`, (rows,) int64 ascending."""
        self._texts, self._size = texts, size
        self.per_block = -(-texts.context_length // size)
        self.of_row = self._window(token_index).astype(np.int32)
        self.seen = np.unique(self.of_row)
        self._place = token_index
        padded = (texts.documents < 0).reshape(texts.n_blocks, texts.context_length)
        self._lengths = texts.context_length - padded.sum(axis=1)

    def block(self, window: np.ndarray) -> np.ndarray:
        """The block of each window."""
        return window // self.per_block

    def position(self, window: np.ndarray) -> np.ndarray:
        """The place in its block of each window's first token."""
        return window % self.per_block * self._size

    def lengths(self, window: np.ndarray) -> np.ndarray:
        """Tokens of each window."""
        return np.minimum(self._lengths[self.block(window)] - self.position(window), self._size)

    def token_places(self, window: np.ndarray) -> np.ndarray:
        """Token index of every token of the windows, one window after the other."""
        lengths = self.lengths(window)
        first = self.block(window) * self._texts.context_length + self.position(window)
        return np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())

    def row_places(self, rows: np.ndarray) -> np.ndarray:
        """Token index of rows."""
        return self._place[rows]

    def tokens(self, places: np.ndarray) -> np.ndarray:
        """Token ids at token indices."""
        return self._texts.tokens[places]

    def pieces(self, places: np.ndarray) -> pa.Array:
        """Pieces of text at token indices of windows that were seen."""
        flat, where = self._pieces
        return flat.take(pa.array(where[places]))

    @functools.cached_property
    def _pieces(self) -> tuple[pa.Array, np.ndarray]:
        """The pieces of all windows that were seen, and for each token index its place among them."""
        tokenizer = load_tokenizer(self._texts.tokenizer)
        places = self.token_places(self.seen)
        where = np.zeros(len(self._texts.tokens), np.int32)
        where[places] = np.arange(len(places))
        parts, ends = [], np.cumsum(self.lengths(self.seen))
        for part in np.array_split(np.arange(len(ends)), max(1, len(ends) // 10_000)):
            found = []
            for window in part.tolist():
                start = ends[window - 1] if window else 0
                found += pieces(tokenizer, self.tokens(places[start : ends[window]]).tolist())
            parts.append(pa.array(found, pa.string()))
        return pa.concat_arrays(parts), where

    def _window(self, token_index: np.ndarray) -> np.ndarray:
        block, place = np.divmod(token_index, self._texts.context_length)
        return block * self.per_block + place // self._size
