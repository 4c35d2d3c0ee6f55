"""How many chunks, rows and optimiser steps a token budget makes: the one place where this is counted."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Budget:
    """A budget of `tokens` activations, repeats counted: tokens / epochs different rows, in chunks of `chunk_rows`.

    Each chunk is read `epochs` times before the next one, in whole batches of `batch_size`. A last piece of rows that
    is too small for one batch is left out.
    """

    tokens: int
    epochs: int
    chunk_rows: int
    batch_size: int

    @property
    def rows(self) -> int:
        """Different rows over all chunks, with those of a last piece that is left out."""
        return self.tokens // self.epochs

    @property
    def chunks(self) -> int:
        """How many chunks give at least one step."""
        if not self._steps(self.chunk_rows):
            return 0
        full, rest = divmod(self.rows, self.chunk_rows)
        return full + (self._steps(rest) > 0)

    @property
    def steps(self) -> int:
        """Steps over all chunks."""
        return self.steps_before(self.chunks)

    def rows_of(self, chunk: int) -> int:
        """How many different rows of chunk `chunk` are used: all, or the first ones of the last chunk; 0 after it."""
        if chunk >= self.chunks:
            return 0
        return min(self.chunk_rows, self.rows - chunk * self.chunk_rows)

    def steps_of(self, chunk: int) -> int:
        """Steps on chunk `chunk`: whole batches of its rows, read `epochs` times."""
        return self._steps(self.rows_of(chunk))

    def steps_before(self, chunk: int) -> int:
        """Steps on all chunks before chunk `chunk`."""
        full = min(chunk, self.rows // self.chunk_rows)
        return full * self._steps(self.chunk_rows) + (self.steps_of(full) if chunk > full else 0)

    def _steps(self, rows: int) -> int:
        return rows * self.epochs // self.batch_size
