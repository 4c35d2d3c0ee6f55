"""Documents to token blocks on disk: held-out blocks first, then training blocks in chunk files."""

import contextlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import default_rng
from tqdm import tqdm

from sae_stability.corpus.bad_rows import BadRows
from sae_stability.corpus.documents import documents
from sae_stability.corpus.packing import Blocks, Document, Layout, joined, one_a_block, pack, with_text_shuffled
from sae_stability.errors import StudyError, one_line
from sae_stability.files import named, publish, sha256, workplace, write_json
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from sae_stability.random_streams import stream
from sae_stability.ranges import Count, Index

FORMAT = "sae-stability tokens 1"
_ONE_DOCUMENT = (
    ". A .txt or .md file is one document, and no document is both held out and trained on: set separator of the "
    "corpus to cut files"
)
_DOCUMENTS_A_BATCH = 1000
_ROW_GROUP_TOKENS = 1 << 20


def tokenize(
    *,
    corpus: dict,
    corpus_seed: Index = 0,
    tokenizer: str,
    revision: str | None = None,
    context_length: Count,
    packing: bool = True,
    heldout_tokens: Count,
    train_tokens: Count,
    chunk_tokens: Count,
    shuffle_tokens: bool = False,
    config_hash: str = "",
    out: Path,
) -> dict:
    """Cut a corpus into blocks of tokens: held-out ones, and chunks of training ones.

    Args:
        corpus: the text, as JSON: `kind` and all settings of that kind but the seed, as under `corpora` in a study.
        corpus_seed: seed of the order of the documents.
        tokenizer: hub name, folder or package:NAME/FOLDER of the model whose tokenizer is used.
        revision: branch, tag or commit of a tokenizer on the hub; its main branch if not given.
        context_length: tokens a block, special tokens included.
        packing: true joins documents to fill every block; false puts one document in a block, cut or padded to fit.
        heldout_tokens: tokens kept for evaluation; special tokens and padding do not count.
        train_tokens: tokens for training, counted likewise.
        chunk_tokens: training tokens a chunk, counted likewise.
        shuffle_tokens: put the tokens of a file in random order, about a million at a time; special tokens and padding
            stay where they are. What is left of the text is how often each token occurs.
        config_hash: fingerprint of what the blocks are made from, recorded in the manifest.
        out: folder for the blocks.

    Returns:
        The manifest.

    Raises:
        StudyError: as `documents` and `write_token_set`.
    """
    bad_rows = BadRows(corpus.get("on_bad_row", "error"))
    return write_token_set(
        documents(corpus, corpus_seed, bad_rows),
        ModelSource(tokenizer, revision),
        context_length=context_length,
        packing=packing,
        heldout_tokens=heldout_tokens,
        train_tokens=train_tokens,
        chunk_tokens=chunk_tokens,
        shuffle_seed=corpus_seed if shuffle_tokens else None,
        config_hash=config_hash,
        out=out,
        bad_rows=bad_rows,
        hint=_ONE_DOCUMENT if corpus["kind"] == "files" and not corpus.get("separator") else "",
    )


def write_token_set(
    texts: Iterable[str],
    source: ModelSource,
    *,
    context_length: int,
    packing: bool,
    heldout_tokens: int,
    train_tokens: int,
    chunk_tokens: int,
    shuffle_seed: int | None = None,
    config_hash: str = "",
    out: Path,
    bad_rows: BadRows | None = None,
    hint: str = "",
) -> dict:
    """Write a token set: `heldout.parquet`, `chunk-0000.parquet` ..., then `manifest.json`.

    Counts are of trainable tokens, those that are text: neither special nor padding. The first documents are held out
    until they fill blocks of `heldout_tokens`; training blocks come from the documents after them, so no document is in
    both. Chunk c holds trainable tokens [c * chunk_tokens, (c + 1) * chunk_tokens) of the training blocks; a block on
    the border is in both files. Documents are read as they are needed.

    Args:
        texts: the documents, in order.
        source: the model whose tokenizer is used.
        context_length: tokens a block, special ones included.
        packing: join documents and cut them, or one document a block (cut, or padded at its end).
        heldout_tokens, train_tokens, chunk_tokens: trainable tokens held out, for training, in a chunk.
        shuffle_seed: seed of a random order of the trainable tokens in each row group of a file; None keeps theirs.
        config_hash: fingerprint of what the blocks are made from.
        out: the folder to write into.
        bad_rows: counts rows of the corpus that held no text, for the manifest and the log.
        hint: what may be wrong with a corpus that is too small.

    Returns:
        The manifest.

    Raises:
        StudyError: the tokenizer cannot be loaded, blocks are too short for it, or the corpus is too small.
    """
    tokenizer = load_tokenizer(source)
    layout = _layout(tokenizer, context_length)
    blocks_of = pack if packing else one_a_block
    bad_rows = bad_rows or BadRows()
    corpus = _Corpus(texts, bad_rows, hint)
    numbered = _tokenized(corpus, tokenizer)
    out = Path(out)
    with (
        workplace(out.resolve()) as folder,
        tqdm(total=heldout_tokens + train_tokens, unit=" tokens", unit_scale=True, desc="tokenize") as progress,
    ):
        heldout = _write_section(
            blocks_of(numbered, layout),
            heldout_tokens,
            heldout_tokens,
            ["heldout"],
            folder,
            progress,
            "held-out",
            corpus,
            shuffle_seed,
        )
        names = [f"chunk-{chunk:04d}" for chunk in range(-(-train_tokens // chunk_tokens))]
        chunks = _write_section(
            blocks_of(numbered, layout),
            train_tokens,
            chunk_tokens,
            names,
            folder,
            progress,
            "training",
            corpus,
            shuffle_seed,
        )
        manifest = {
            "format": FORMAT,
            "tokenizer": source.name,
            "revision": source.revision,
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
            "shuffled": shuffle_seed is not None,
            "bad_rows": bad_rows.counts,
            "heldout": heldout[0],
            "chunks": chunks,
            "config_hash": config_hash,
        }
        write_json(folder / "manifest.json", manifest)
        publish(folder, out, [*(entry["file"] for entry in (*heldout, *chunks)), "manifest.json"])
    if bad_rows.first:
        print(f"tokenize: {bad_rows}", file=sys.stderr)
    return manifest


def token_blocks(texts: Iterable[str], tokenizer, context_length: int, packing: bool) -> Iterator[Blocks]:
    """Yield the blocks of texts, as `tokenize` writes them.

    Raises:
        StudyError: blocks are too short for the tokenizer.
    """
    numbered = _tokenized(texts, tokenizer)
    return (pack if packing else one_a_block)(numbered, _layout(tokenizer, context_length))


def _layout(tokenizer, context_length: int) -> Layout:
    with one_line(f"tokenizer '{tokenizer.name_or_path}' cannot be used"):
        prefix, suffix = _added_tokens(tokenizer)
    ends = [tokenizer.sep_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id]
    separator = next((token for token in ends if token is not None), None)
    # An unknown or a masked word stands for text; the other special tokens do not.
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


def _tokenized(texts: Iterable[str], tokenizer) -> Iterator[Document]:
    """Yield the number and the token ids of each document that has any, without special tokens around them."""
    numbers = itertools.count()
    texts = iter(texts)
    while batch := list(itertools.islice(texts, _DOCUMENTS_A_BATCH)):
        with one_line(f"tokenizer '{tokenizer.name_or_path}' cannot read the corpus"):
            encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield from ((next(numbers), ids) for ids in encoded["input_ids"] if ids)


def _write_section(
    blocks: Iterator[Blocks],
    total: int,
    file_tokens: int,
    names: list[str],
    out: Path,
    progress: tqdm,
    what: str,
    corpus: "_Corpus",
    shuffle_seed: int | None,
) -> list[dict]:
    """Write blocks of `total` trainable tokens into files of `file_tokens` each; return the files' manifest entries."""
    section = _Section(out, names, total, file_tokens, shuffle_seed)
    try:
        while section.seen < total:
            some = next(blocks, None)
            if some is None:
                raise StudyError(
                    f"the corpus is too small: {section.seen:,} {what} tokens found, {total:,} asked for, "
                    f"in {corpus}; add documents or ask for fewer tokens{corpus.hint}"
                )
            before = min(section.seen, total)
            section.add(some)
            progress.update(min(section.seen, total) - before)
        return section.entries
    finally:
        section.close()


class _Corpus:
    """The documents as they are read, how many there were, and what may be wrong where they are too few."""

    def __init__(self, texts: Iterable[str], bad_rows: BadRows, hint: str) -> None:
        self.texts, self.bad_rows, self.hint = texts, bad_rows, hint
        self.documents = 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.documents += 1
            yield text

    def __str__(self) -> str:
        read = "1 document" if self.documents == 1 else f"{self.documents:,} documents"
        return f"{read} ({self.bad_rows})" if self.bad_rows.first else read


class _Section:
    """Writes the blocks of one section, held-out or training, into its files.

    A block goes into every file that it has tokens for.

    Attributes:
        seen: trainable tokens so far.
        blocks: blocks so far.
        entries: manifest entries of the finished files.
    """

    def __init__(self, out: Path, names: list[str], total: int, file_tokens: int, shuffle_seed: int | None):
        self.out, self.names, self.total, self.file_tokens = out, names, total, file_tokens
        self.shuffle_seed = shuffle_seed
        self.seen = 0
        self.blocks = 0
        self.entries: list[dict] = []
        self.file: _BlockWriter | None = None

    def add(self, blocks: Blocks) -> None:
        ends = self.seen + np.cumsum(blocks.trainable.sum(axis=1))
        for index, end in enumerate(ends.tolist()):
            if self.seen >= self.total:
                return
            self._add_block(blocks[index : index + 1], end)

    def _add_block(self, block: Blocks, end: int) -> None:
        """Add one block, whose trainable tokens are [self.seen, end) of the section."""
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
        metadata = {"first_block": self.blocks, "skip": skip, "tokens": tokens}
        return _BlockWriter(self.out / f"{self.names[chunk]}.parquet", metadata, self.shuffle_seed)

    def _close_file(self) -> None:
        assert self.file is not None
        self.entries.append(self.file.finish())
        self.file = None

    def close(self) -> None:
        """Close a file that is not complete."""
        if self.file is not None:
            self.file.close()


class _BlockWriter:
    """Writes one Parquet file of blocks in row groups, with `shuffle_seed` the text of each in random order."""

    def __init__(self, path: Path, metadata: dict, shuffle_seed: int | None):
        self.path, self.metadata = path, metadata
        self.random = None if shuffle_seed is None else default_rng(stream("shuffle-tokens", shuffle_seed, path.name))
        self.waiting: list[Blocks] = []
        self.count = 0
        self.last_document = None
        self.writer: pq.ParquetWriter | None = None

    def add(self, block: Blocks) -> None:
        self.waiting.append(block)
        self.count += 1
        if len(self.waiting) * block.tokens.shape[1] >= _ROW_GROUP_TOKENS:
            self._flush()

    def _flush(self) -> None:
        blocks = joined(self.waiting)
        if self.random is not None:
            blocks = with_text_shuffled(blocks, self.random)
        table = _table(blocks, self.metadata)
        with named(self.path):
            if self.writer is None:
                self.writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
            self.writer.write_table(table, row_group_size=len(blocks))
        self.waiting = []

    def finish(self) -> dict:
        if self.waiting:
            self._flush()
        assert self.writer is not None
        with named(self.path):
            self.writer.close()
        return {"file": self.path.name, "blocks": self.count, **self.metadata, "sha256": sha256(self.path)}

    def close(self) -> None:
        """Close the incomplete file."""
        if self.writer is not None:
            with contextlib.suppress(OSError):  # the disk may be full
                self.writer.close()


def _table(blocks: Blocks, metadata: dict) -> pa.Table:
    columns = {}
    for name, kind in (
        ("tokens", pa.int32()),
        ("document_id", pa.int32()),
        ("position", pa.int32()),
        ("special", pa.bool_()),
    ):
        values = getattr(blocks, name)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), values.shape[1])
    return pa.table(columns).replace_schema_metadata({"sae_stability": json.dumps(metadata)})
