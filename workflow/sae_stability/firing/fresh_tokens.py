"""Text behind a token set's own: more held-out tokens than the token set keeps."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.documents import documents
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.files import read_json
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from sae_stability.ranges import Count, Index

_DOCUMENTS_A_BATCH = 1000


def write_fresh_tokens(
    *, corpus: dict, corpus_seed: Index, tokens: Path, count: Count, out: Path, config_hash: str = ""
) -> None:
    """Cut the documents that follow those of a token set into blocks, in the same way as its own.

    Documents up to the last one of the token set are tokenised again, to see where they end, and left out. So no SAE
    has been trained on what is written.

    Args:
        corpus: the text of the token set, as JSON.
        corpus_seed: seed of the order of the documents.
        tokens: folder of the token set.
        count: tokens to write, without special tokens and padding.
        out: folder for the blocks, as a token set with held-out blocks alone.
        config_hash: fingerprint of what the blocks are made from, recorded in the manifest.

    Raises:
        StudyError: there is no such token set, or the corpus is too small.
    """
    manifest = read_json(tokens / "manifest.json")
    source = ModelSource(manifest["tokenizer"], manifest["revision"])
    last = BlockFile(tokens, len(manifest["chunks"]) - 1)
    used = 1 + max(int(blocks.document_id.max()) for _, blocks in last.read())
    write_token_set(
        _after(documents(corpus, corpus_seed), source, used),
        source,
        context_length=manifest["context_length"],
        packing=manifest["packing"],
        heldout_tokens=count,
        train_tokens=0,
        chunk_tokens=count,
        config_hash=config_hash,
        out=out,
    )


def _after(texts: Iterable[str], source: ModelSource, used: int) -> Iterator[str]:
    """Yield the texts after the first `used` ones that hold any token: only those are numbered."""
    tokenizer, texts = load_tokenizer(source), iter(texts)
    while used and (batch := list(itertools.islice(texts, _DOCUMENTS_A_BATCH))):
        encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        for text, ids in zip(batch, encoded, strict=True):
            if not used:
                yield text
            elif ids:
                used -= 1
    yield from texts
