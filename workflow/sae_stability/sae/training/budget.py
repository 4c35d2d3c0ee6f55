"""Chunks, rows and optimiser steps of a token budget. Nothing else computes these numbers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Budget:
    """A budget of `tokens` activations, counting repeats: tokens / epochs distinct rows, in chunks of `chunk_rows`.

    Each chunk is read `epochs` times before the next one, in whole batches of `batch_size`. A last chunk that is too
    small for one batch is dropped.
    """

    tokens: int
    epochs: int
    chunk_rows: int
    batch_size: int

    @property
    def rows(self) -> int:
        """Distinct rows of the budget, including those of a dropped last chunk."""
        return self.tokens // self.epochs

    @property
    def chunks(self) -> int:
        """Number of chunks with at least one step."""
        if not self._steps(self.chunk_rows):
            return 0
        full, rest = divmod(self.rows, self.chunk_rows)
        return full + (self._steps(rest) > 0)

    @property
    def steps(self) -> int:
        """Number of steps on all chunks."""
        return self.steps_before(self.chunks)

    def rows_of(self, chunk: int) -> int:
        """Number of distinct rows used of chunk `chunk`: all, the first ones in the last chunk, 0 after the last."""
        if chunk >= self.chunks:
            return 0
        return min(self.chunk_rows, self.rows - chunk * self.chunk_rows)

    def steps_of(self, chunk: int) -> int:
        """Number of steps on chunk `chunk`: whole batches of its rows, read `epochs` times."""
        return self._steps(self.rows_of(chunk))

    def steps_before(self, chunk: int) -> int:
        """Number of steps on all chunks before chunk `chunk`."""
        full = min(chunk, self.rows // self.chunk_rows)
        return full * self._steps(self.chunk_rows) + (self.steps_of(full) if chunk > full else 0)

    def _steps(self, rows: int) -> int:
        return rows * self.epochs // self.batch_size
