"""How a token budget becomes chunks, rows and optimiser steps: the one place where this is counted."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Budget:
    """`tokens` activations, `epochs` times tokens / epochs distinct rows, cut into chunks of `chunk_rows` rows.

    A chunk is gone through `epochs` times, in whole batches of `batch_size`, before the next one. A last piece of rows
    too small for one batch is left out.
    """

    tokens: int
    epochs: int
    chunk_rows: int
    batch_size: int

    @property
    def rows(self) -> int:
        """Distinct rows over all chunks, those of a piece that is left out included."""
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
        """Distinct rows used of chunk `chunk`, its first ones: all but in the last chunk; 0 after it."""
        if chunk >= self.chunks:
            return 0
        return min(self.chunk_rows, self.rows - chunk * self.chunk_rows)

    def steps_of(self, chunk: int) -> int:
        """Steps on chunk `chunk`: whole batches of its rows gone through `epochs` times."""
        return self._steps(self.rows_of(chunk))

    def steps_before(self, chunk: int) -> int:
        """Steps on all chunks before chunk `chunk`."""
        full = min(chunk, self.rows // self.chunk_rows)
        return full * self._steps(self.chunk_rows) + (self.steps_of(full) if chunk > full else 0)

    def _steps(self, rows: int) -> int:
        return rows * self.epochs // self.batch_size
