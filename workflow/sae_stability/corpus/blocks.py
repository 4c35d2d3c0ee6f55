"""Reading the token sets that `tokenize` writes."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sae_stability.corpus.packing import Blocks
from sae_stability.errors import StudyError
from sae_stability.files import read_json, sha256


class BlockFile:
    """One checked file of a token set: the held-out blocks or a chunk.

    Attributes:
        context_length: tokens a block.
        first_block: number of the file's first block within its section (held-out or training).
        skip: how many trainable tokens at the file's start belong to the chunk before.
        tokens: how many trainable tokens after those belong to this file.
        blocks: number of blocks.
    """

    def __init__(self, folder: Path, chunk: int | str):
        """Open chunk number `chunk`, or "heldout", of the token set in `folder`.

        Raises:
            StudyError: no such token set or chunk, or a file that is not the one that was written.
        """
        folder = Path(folder)
        self.manifest = read_json(folder / "manifest.json")
        entry = self._entry(folder, chunk)
        self.path = folder / entry["file"]
        if not self.path.is_file() or sha256(self.path) != entry["sha256"]:
            raise StudyError(
                f"{self.path}: missing or not the file that its manifest describes; delete {folder} and run again"
            )
        self.context_length: int = self.manifest["context_length"]
        self.first_block: int = entry["first_block"]
        self.skip: int = entry["skip"]
        self.tokens: int = entry["tokens"]
        self.blocks: int = entry["blocks"]

    def _entry(self, folder: Path, chunk: int | str) -> dict:
        if chunk == "heldout":
            return self.manifest["heldout"]
        chunks = self.manifest["chunks"]
        if not 0 <= int(chunk) < len(chunks):
            raise StudyError(f"{folder}: no chunk {chunk}; it has chunks 0 to {len(chunks) - 1} and 'heldout'")
        return chunks[int(chunk)]

    def read(self) -> Iterator[tuple[int, Blocks]]:
        """Yield (number of the first block, blocks), a row group of about 2**20 tokens at a time."""
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self.path)
        first = self.first_block
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            blocks = Blocks(*(self._matrix(table, name) for name in ("tokens", "document_id", "position", "special")))
            yield first, blocks
            first += len(blocks)

    def _matrix(self, table, name: str) -> np.ndarray:
        values = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return values.reshape(-1, self.context_length)

    def kept(self, *, keep_special: bool = False) -> Iterator[tuple[int, Blocks, np.ndarray]]:
        """Yield (number of the first block, blocks, mask of the tokens that belong to this file).

        The mask has the shape (blocks, context_length). A trainable token's running number says which chunk it belongs
        to. With `keep_special`, a special token goes with the trainable token before it in its block, or else with the
        first one after it. So every token belongs to one chunk, wherever the borders between chunks fall.
        """
        counted = 0
        for first, blocks in self.read():
            trainable = blocks.trainable
            per_block = trainable.sum(axis=1)
            start = counted + np.cumsum(per_block) - per_block
            number = start[:, None] + np.maximum(trainable.cumsum(axis=1) - 1, 0)
            counted += int(per_block.sum())
            wanted = (blocks.document_id >= 0) if keep_special else trainable
            yield first, blocks, wanted & (number >= self.skip) & (number < self.skip + self.tokens)


def metadata(path: Path) -> dict:
    """`first_block`, `skip` and `tokens` of a block file, from the file itself."""
    import pyarrow.parquet as pq

    return json.loads(pq.read_schema(path).metadata[b"sae_stability"])
