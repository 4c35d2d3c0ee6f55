"""Rows that firing is measured on: stored held-out activations, or further text run through the model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.packing import Blocks
from sae_stability.errors import StudyError
from sae_stability.models.dtypes import torch_dtype
from sae_stability.models.source import ModelSource
from sae_stability.threads import in_order

Rows = tuple[torch.Tensor, np.ndarray]
"""Activations (rows, d_model), and the token index of each row, (rows,) int64, ascending."""

_BLOCKS = 64  # token blocks whose rows are put in order at once


def stored_rows(chunk: Path, limit: int | None = None) -> Iterator[Rows]:
    """Yield the rows of stored held-out activations, float32, a shard at a time; at most `limit` rows in all.

    Raises:
        StudyError: there are fewer rows than `limit`, or the files are damaged.
    """
    available = reader.Chunk(chunk).rows
    if limit is not None and limit > available:
        raise StudyError(f"{chunk}: {limit:,} rows are asked for, but it has {available:,}; ask for fewer")
    left = available if limit is None else limit
    for activations, token_index in reader.rows(chunk):
        if left > 0:
            yield activations[:left], token_index[:left].numpy()
        left -= len(activations)


def model_rows(
    tokens: Path, model: ModelSource, chunk: reader.Chunk, threads: int = 1, device: str = "cpu"
) -> Iterator[Rows]:
    """Yield the rows of the held-out blocks of `tokens`, straight from the model and without storing them.

    They are rows as extraction stores them in `chunk`: at the same hookpoint, in the same precision, without special
    tokens and sinks where that leaves them out. On a CPU, `threads` of them compute a few blocks each.

    Raises:
        StudyError: the model cannot be loaded, or has no such hookpoint.
    """
    # Importing transformers takes seconds; stored rows need no model.
    from sae_stability.activations import forward, sinks
    from sae_stability.activations.hooks import Hooks
    from sae_stability.models.loading import load_model

    manifest = chunk.manifest
    hookpoint, limit, dtype = manifest["hookpoint"], manifest.get("max_norm"), torch_dtype(manifest["dtype"])
    keep_special = manifest.get("keep_special", False)
    blocks = BlockFile(tokens, "heldout")
    with Hooks(load_model(model, device), [hookpoint]) as hooks:
        # Batches sort blocks by length, so the rows of a few blocks at a time are put back in order.
        def compute(group: tuple[int, Blocks, np.ndarray]) -> Rows:
            index, rows = [], []
            for batch in forward.batches([group], forward.suitable_tokens(device)):
                index.append(batch.token_index)
                rows.append(forward.rows(hooks, batch)[hookpoint])
            token_index, activations = np.concatenate(index), torch.cat(rows)
            order = np.argsort(token_index)
            if limit is not None:
                order = order[sinks.not_sink(activations, limit).cpu().numpy()[order]]
            activations = activations[torch.from_numpy(order).to(activations.device)].to(dtype).float()
            if not torch.isfinite(activations).all():
                raise StudyError(f"hookpoint '{hookpoint}': activations that are not finite in {manifest['dtype']}")
            return activations, token_index[order]

        yield from in_order(compute, _groups(blocks, keep_special), threads if device == "cpu" else 1)


def _groups(blocks: BlockFile, keep_special: bool) -> Iterator[tuple[int, Blocks, np.ndarray]]:
    """Yield what `BlockFile.kept` yields, a few blocks at a time; those without rows are left out."""
    for first, some, kept in blocks.kept(keep_special=keep_special):
        for start in range(0, len(some), _BLOCKS):
            part = slice(start, start + _BLOCKS)
            if kept[part].any():
                yield first + start, some[part], kept[part]


class Texts:
    """The held-out blocks of a token set, as flat arrays over all their tokens.

    Attributes:
        context_length: tokens a block.
        n_blocks: number of blocks.
        tokens: (n_blocks * context_length,) int32; an entry's place is its token index.
        documents: as long, int32: the number of the document; -1 on padding.
        tokenizer: the model whose tokenizer made them.
    """

    def __init__(self, folder: Path) -> None:
        """Read the blocks in `folder`.

        Raises:
            StudyError: no such token set, or a damaged one.
        """
        file = BlockFile(folder, "heldout")
        parts = [(some.tokens.ravel(), some.document_id.ravel()) for _, some in file.read()]
        self.context_length, self.n_blocks = file.context_length, file.blocks
        self.tokens, self.documents = (np.concatenate(part) for part in zip(*parts, strict=True))
        self.tokenizer = ModelSource(file.manifest["tokenizer"], file.manifest["revision"])


class RowTexts:
    """Token and document of each row that an SAE saw.

    Attributes:
        tokens: (rows,) int32.
        documents: (rows,) int32: 0, 1 ... in the order of the documents; a document's rows are neighbours.
        n_documents: documents that have rows.
    """

    def __init__(self, texts: Texts, token_index: np.ndarray) -> None:
        """The rows are the tokens of `texts` at `token_index`, (rows,) int64 ascending.

        Raises:
            StudyError: the rows come from other blocks.
        """
        if len(token_index) and token_index[-1] >= len(texts.tokens):
            raise StudyError(
                f"row {token_index[-1]:,} lies behind the end of the token blocks ({len(texts.tokens):,} tokens): "
                "activations and tokens are not of one token set"
            )
        self.tokens = texts.tokens[token_index]
        numbers = texts.documents[token_index]
        self.documents = np.cumsum(np.diff(numbers, prepend=numbers[:1]) != 0, dtype=np.int32)
        self.n_documents = int(self.documents[-1]) + 1 if len(numbers) else 0

    def documents_of(self, rows: np.ndarray) -> np.ndarray:
        """The documents of some rows (ascending), each once."""
        documents = self.documents[rows]
        return documents[np.diff(documents, prepend=-1) != 0]
