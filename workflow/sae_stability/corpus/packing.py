"""Token ids of documents to blocks of equal length: packed, or one document a block."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

PADDING = -1  # the document_id of padding, and the position of every token that is not part of a document's text


@dataclass(frozen=True)
class Layout:
    """How blocks are laid out: their length and the tokens that are not text.

    `prefix` and `suffix` open and close every block. `separator`, if any, stands between packed documents. `special`
    are all ids that count as special wherever they occur, `pad` among them.
    """

    context_length: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    separator: int | None
    pad: int
    special: frozenset[int]

    @property
    def body(self) -> int:
        """Tokens of a block that are left for documents."""
        return self.context_length - len(self.prefix) - len(self.suffix)


@dataclass(frozen=True)
class Blocks:
    """Blocks of tokens; every array has the shape (blocks, context_length).

    `document_id` is -1 on padding; a special token has the id of the document beside it. `position` is a token's place
    in its document, from 0, and goes on from block to block; it is -1 on tokens that were put around documents.
    """

    tokens: np.ndarray
    document_id: np.ndarray
    position: np.ndarray
    special: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, blocks: slice) -> "Blocks":
        return Blocks(self.tokens[blocks], self.document_id[blocks], self.position[blocks], self.special[blocks])

    @property
    def trainable(self) -> np.ndarray:
        """Which tokens are text: neither special nor padding, (blocks, context_length) bool."""
        return ~self.special


Document = tuple[int, list[int]]  # the document's number and its token ids


def pack(documents: Iterable[Document], layout: Layout) -> Iterator[Blocks]:
    """Join documents and cut them into full blocks; an incomplete last block is dropped.

    A document that does not end in a block goes on in the next one.
    """
    rest = np.empty((3, 0), dtype=np.int32)
    for number, ids in documents:
        rest = np.concatenate([rest, _packed_document(number, ids, layout)], axis=1)
        whole = rest.shape[1] // layout.body * layout.body
        if whole:
            yield from _with_text(_cut(rest[:, :whole], layout))
            rest = rest[:, whole:]


def one_a_block(documents: Iterable[Document], layout: Layout) -> Iterator[Blocks]:
    """One document a block, truncated to the block or padded at its end."""
    for number, ids in documents:
        yield from _with_text(_blocks(_padded_document(number, ids, layout)[:, None], layout))


def joined(parts: Sequence[Blocks]) -> Blocks:
    """All blocks as one."""
    names = [field.name for field in fields(Blocks)]
    return Blocks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def with_text_shuffled(blocks: Blocks, random: np.random.Generator) -> Blocks:
    """The blocks with the tokens of their text in random order; `document_id` and `position` stay with the place."""
    tokens, text = blocks.tokens.copy(), blocks.trainable
    tokens[text] = random.permutation(tokens[text])
    return replace(blocks, tokens=tokens)


def _packed_document(number: int, ids: list[int], layout: Layout) -> np.ndarray:
    """Rows token, document, position of one document and the separator after it: (3, length)."""
    length = len(ids)
    end = [] if layout.separator is None else [layout.separator]
    return np.array(
        [ids + end, [number] * (length + len(end)), [*range(length)] + [PADDING] * len(end)], dtype=np.int32
    )


def _cut(joined: np.ndarray, layout: Layout) -> Blocks:
    """Blocks from joined documents, (3, blocks * body)."""
    body = joined.reshape(3, -1, layout.body)
    # A block's opening and closing tokens belong to the document that they touch.
    opening = _between(layout.prefix, body[1, :, 0])
    closing = _between(layout.suffix, body[1, :, -1])
    return _blocks(np.concatenate([opening, body, closing], axis=2), layout)


def _between(ids: tuple[int, ...], document: np.ndarray) -> np.ndarray:
    """Rows token, document, position of special tokens in each block: (3, blocks, len(ids))."""
    shape = (len(document), len(ids))
    return np.stack(
        [
            np.broadcast_to(np.array(ids, dtype=np.int32), shape),
            np.broadcast_to(document[:, None], shape),
            np.full(shape, PADDING, dtype=np.int32),
        ]
    )


def _padded_document(number: int, ids: list[int], layout: Layout) -> np.ndarray:
    """Rows token, document, position of a block with one document: (3, context_length)."""
    ids = ids[: layout.body]
    text = [*layout.prefix, *ids, *layout.suffix]
    padding = layout.context_length - len(text)
    position = [PADDING] * len(layout.prefix) + [*range(len(ids))] + [PADDING] * (len(layout.suffix) + padding)
    return np.array(
        [text + [layout.pad] * padding, [number] * len(text) + [PADDING] * padding, position], dtype=np.int32
    )


def _blocks(rows: np.ndarray, layout: Layout) -> Blocks:
    """Blocks from rows token, document, position: (3, blocks, context_length)."""
    tokens, document_id, position = rows
    special = np.isin(tokens, list(layout.special)) | (document_id == PADDING)
    return Blocks(tokens, document_id, position, special)


def _with_text(blocks: Blocks) -> Iterator[Blocks]:
    """The blocks that hold some text."""
    kept = blocks.trainable.any(axis=1)
    if kept.any():
        yield Blocks(blocks.tokens[kept], blocks.document_id[kept], blocks.position[kept], blocks.special[kept])
