"""Documents to token blocks on disk: held-out blocks first, then training blocks in chunk files."""

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from sae_stability.corpus.packing import Blocks, Document, Layout, one_a_block, pack
from sae_stability.errors import StudyError
from sae_stability.files import atomic_alone, discard, named, sha256, write_json
from sae_stability.models.names import resolve_model

FORMAT = "sae-stability tokens 1"
_DOCUMENTS_A_BATCH = 1000
_ROW_GROUP_TOKENS = 1 << 20


def tokenize(
    *,
    documents: Iterable[str],
    tokenizer_folder_or_name: str,
    revision: str | None,
    context_length: int,
    packing: bool,
    heldout_tokens: int,
    train_tokens: int,
    chunk_tokens: int,
    out: Path,
) -> dict:
    """Write a token set: `heldout.parquet`, `chunk-0000.parquet` ..., then `manifest.json`.

    Counts are of trainable tokens, those that are text: neither special nor padding. The first documents are
    held out until they fill blocks of `heldout_tokens`; training blocks come from the documents after them, so
    no document is in both. Chunk c holds trainable tokens [c * chunk_tokens, (c + 1) * chunk_tokens) of the
    training blocks; a block on the border stands in both files. Documents are read as they are needed.

    Args:
        documents: texts, in order.
        tokenizer_folder_or_name: hub name, folder, or `package:NAME/FOLDER`.
        revision: hub revision of the tokenizer, or None.
        context_length: tokens a block, special ones included.
        packing: join documents and cut, or one document a block (truncated, padded at the end).
        heldout_tokens, train_tokens, chunk_tokens: trainable tokens held out, for training, in a chunk.
        out: the folder to write into.

    Returns:
        The manifest.

    Raises:
        StudyError: the tokenizer cannot be loaded, blocks are too short for it, or the corpus is too small.
    """
    out = Path(out)
    (out / "manifest.json").unlink(missing_ok=True)
    tokenizer = load_tokenizer(tokenizer_folder_or_name, revision)
    layout = _layout(tokenizer, context_length)
    blocks_of = pack if packing else one_a_block
    numbered = _tokenized(documents, tokenizer)
    with tqdm(total=heldout_tokens + train_tokens, unit=" tokens", unit_scale=True, desc="tokenize") as progress:
        heldout = _write_section(
            blocks_of(numbered, layout), heldout_tokens, heldout_tokens, ["heldout"], out, layout, progress, "held-out"
        )
        names = [f"chunk-{chunk:04d}" for chunk in range(-(-train_tokens // chunk_tokens))]
        chunks = _write_section(
            blocks_of(numbered, layout), train_tokens, chunk_tokens, names, out, layout, progress, "training"
        )
    manifest = {
        "format": FORMAT,
        "tokenizer": tokenizer_folder_or_name,
        "revision": revision,
        "context_length": context_length,
        "packing": packing,
        "prefix": list(layout.prefix),
        "suffix": list(layout.suffix),
        "separator": layout.separator,
        "pad": layout.pad,
        "special": sorted(layout.special),
        "heldout_tokens": heldout_tokens,
        "train_tokens": train_tokens,
        "chunk_tokens": chunk_tokens,
        "heldout": heldout[0],
        "chunks": chunks,
    }
    write_json(out / "manifest.json", manifest)
    return manifest


def load_tokenizer(name: str, revision: str | None = None):
    """The tokenizer of a hub model, folder or `package:NAME/FOLDER`.

    Raises:
        StudyError: there is none.
    """
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(resolve_model(name), revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StudyError(f"tokenizer '{name}' (revision {revision}) cannot be loaded: {reason}") from None


def token_blocks(documents: Iterable[str], tokenizer, context_length: int, packing: bool) -> Iterator[Blocks]:
    """The blocks of documents, as `tokenize` writes them.

    Raises:
        StudyError: blocks are too short for the tokenizer.
    """
    numbered = _tokenized(documents, tokenizer)
    return (pack if packing else one_a_block)(numbered, _layout(tokenizer, context_length))


def _layout(tokenizer, context_length: int) -> Layout:
    prefix, suffix = _added_tokens(tokenizer)
    ends = [tokenizer.sep_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id]
    separator = next((token for token in ends if token is not None), None)
    # An unknown or masked word still stands for text; the other special tokens stand for none.
    text = {tokenizer.unk_token_id, tokenizer.mask_token_id} - {*ends, tokenizer.pad_token_id}
    special = {*tokenizer.all_special_ids, *prefix, *suffix} - text
    pad = tokenizer.pad_token_id
    pad = next((token for token in (pad, separator) if token is not None), 0)
    layout = Layout(context_length, prefix, suffix, separator, pad, frozenset(special))
    if layout.body < 1:
        raise StudyError(
            f"context_length {context_length} leaves no room for text: the tokenizer adds "
            f"{len(prefix) + len(suffix)} special tokens to every block; raise context_length"
        )
    return layout


def _added_tokens(tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Special tokens that the tokenizer puts before and after a text."""
    text = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(text) + 1):
        if whole[start : start + len(text)] == text:
            return tuple(whole[:start]), tuple(whole[start + len(text) :])
    raise StudyError("the tokenizer changes a text when it adds special tokens; such a tokenizer is not supported")


def _tokenized(documents: Iterable[str], tokenizer) -> Iterator[Document]:
    """Number and token ids of each document that has any, without the tokens put around it."""
    numbers = itertools.count()
    documents = iter(documents)
    while batch := list(itertools.islice(documents, _DOCUMENTS_A_BATCH)):
        encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield from ((next(numbers), ids) for ids in encoded["input_ids"] if ids)


def _write_section(
    blocks: Iterator[Blocks],
    total: int,
    file_tokens: int,
    names: list[str],
    out: Path,
    layout: Layout,
    progress: tqdm,
    what: str,
) -> list[dict]:
    """Write blocks of `total` trainable tokens into files of `file_tokens`; the files' manifest entries."""
    section = _Section(out, names, total, file_tokens)
    try:
        while section.seen < total:
            some = next(blocks, None)
            if some is None:
                raise StudyError(
                    f"the corpus is too small: {section.seen:,} {what} tokens found, {total:,} asked for; "
                    "add documents or ask for fewer tokens"
                )
            before = min(section.seen, total)
            section.add(some)
            progress.update(min(section.seen, total) - before)
        return section.finish()
    finally:
        section.close()


class _Section:
    """Blocks of one section on their way into its files; each block goes to every file it has tokens for."""

    def __init__(self, out: Path, names: list[str], total: int, file_tokens: int):
        self.out, self.names, self.total, self.file_tokens = out, names, total, file_tokens
        self.seen = 0  # trainable tokens so far
        self.blocks = 0
        self.entries: list[dict] = []
        self.file: _BlockWriter | None = None

    def add(self, blocks: Blocks) -> None:
        ends = self.seen + np.cumsum(blocks.trainable.sum(axis=1))
        for index, end in enumerate(ends.tolist()):
            self._add_block(blocks[index : index + 1], end)

    def _add_block(self, block: Blocks, end: int) -> None:
        """Add one block, whose trainable tokens are [self.seen, end) of the section."""
        if self.seen >= self.total:
            return
        start, position = self.seen, self.seen
        while position < min(end, self.total):
            chunk = position // self.file_tokens
            limit = min((chunk + 1) * self.file_tokens, self.total)
            if self.file is None:
                self.file = self._open(chunk, skip=position - start, tokens=limit - position)
            self.file.add(block)
            position = min(end, limit)
            if position == limit:
                self._close_file()
        self.seen = end
        self.blocks += 1

    def _open(self, chunk: int, skip: int, tokens: int) -> "_BlockWriter":
        return _BlockWriter(
            self.out / f"{self.names[chunk]}.parquet", {"first_block": self.blocks, "skip": skip, "tokens": tokens}
        )

    def _close_file(self) -> None:
        assert self.file is not None
        self.entries.append(self.file.finish())
        self.file = None

    def finish(self) -> list[dict]:
        return self.entries

    def close(self) -> None:
        if self.file is not None:
            self.file.discard()


class _BlockWriter:
    """One Parquet file of blocks, written in row groups, named only when it is complete."""

    def __init__(self, path: Path, metadata: dict):
        self.path, self.metadata = path, metadata
        self.waiting: list[Blocks] = []
        self.count = 0
        self.last_document = None
        self.writer: pq.ParquetWriter | None = None
        self.target = atomic_alone(path)
        self.temporary = self.target.__enter__()

    def add(self, block: Blocks) -> None:
        self.waiting.append(block)
        self.count += 1
        if len(self.waiting) * block.tokens.shape[1] >= _ROW_GROUP_TOKENS:
            self._flush()

    def _flush(self) -> None:
        table = _table(self.waiting, self.metadata)
        with named(self.path):
            if self.writer is None:
                self.writer = pq.ParquetWriter(self.temporary, table.schema, compression="zstd")
            self.writer.write_table(table, row_group_size=len(self.waiting))
        self.waiting = []

    def finish(self) -> dict:
        if self.waiting:
            self._flush()
        assert self.writer is not None
        with named(self.path):
            self.writer.close()
        self.target.__exit__(None, None, None)
        return {"file": self.path.name, "blocks": self.count, **self.metadata, "sha256": sha256(self.path)}

    def discard(self) -> None:
        """Remove what was written of a file that will not be finished."""
        if self.writer is not None:
            with contextlib.suppress(OSError):  # a full disk may be why
                self.writer.close()
        discard(self.path)


def _table(blocks: list[Blocks], metadata: dict) -> pa.Table:
    columns = {}
    for name, kind in (("tokens", pa.int32()), ("document_id", pa.int32()), ("position", pa.int32())):
        values = np.concatenate([getattr(block, name) for block in blocks])
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), values.shape[1])
    special = np.concatenate([block.special for block in blocks])
    columns["special"] = pa.FixedSizeListArray.from_arrays(pa.array(special.ravel()), special.shape[1])
    return pa.table(columns).replace_schema_metadata({"sae_stability": json.dumps(metadata)})
