"""Rows to measure firing on: stored ones, those straight from a model, and text behind a token set's own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability.activations import reader
from sae_stability.activations.extraction import extract
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.errors import StudyError
from sae_stability.firing.fresh_tokens import write_fresh_tokens
from sae_stability.firing.heldout import RowTexts, Texts, model_rows, stored_rows
from sae_stability.models.source import ModelSource
from tests import tiny
from tests.firing.conftest import Planted

HOOKPOINT = "encoder.layer.0.output.dense"  # in the residual stream, a norm would make all rows alike


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("max_norm_multiple", [None, 1.05])
def test_rows_straight_from_the_model_are_those_that_would_be_stored(tmp_path, packing: bool, max_norm_multiple):
    source = ModelSource(str(tiny.tiny_bert(tmp_path / "model")))
    sizes = {"heldout_tokens": 900, "train_tokens": 600, "chunk_tokens": 600}
    write_token_set(tiny.sentences(120), source, context_length=32, packing=packing, **sizes, out=tmp_path / "tokens")
    extract(
        model=source,
        tokens=tmp_path / "tokens",
        chunk="heldout",
        chunk_tokens=600,
        hookpoint=[HOOKPOINT],
        out=[tmp_path / "heldout"],
        dtype="float16",
        shard_rows=400,
        max_norm_multiple=max_norm_multiple,
    )
    chunk = reader.Chunk(tmp_path / "heldout")
    stored = list(stored_rows(tmp_path / "heldout"))
    straight = list(model_rows(tmp_path / "tokens", source, chunk, threads=2))
    index = [np.concatenate([part[1] for part in parts]) for parts in (stored, straight)]
    assert np.array_equal(*index)
    assert (np.diff(index[0]) > 0).all()
    rows = [torch.cat([part[0] for part in parts]) for parts in (stored, straight)]
    torch.testing.assert_close(*rows, rtol=1e-3, atol=1e-3)
    assert (len(index[0]) < 900) == (max_norm_multiple is not None)


def test_more_rows_than_are_stored_are_refused(planted: Planted):
    with pytest.raises(StudyError, match=r"heldout: 9,000 rows are asked for, but it has 1,5\d\d; ask for fewer"):
        list(stored_rows(planted.chunk, 9000))


def test_rows_of_other_blocks_are_refused(planted: Planted):
    with pytest.raises(StudyError, match="are not of one token set"):
        RowTexts(Texts(planted.token_set), np.array([10**6]))


def test_fresh_tokens_are_the_documents_behind_those_of_the_token_set(tmp_path: Path):
    """Some documents hold no token: they have no number, and must not shift the others."""
    texts = tiny.sentences(300)
    texts[5:5], texts[40:40] = ["", "  "], ["\n"]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    corpus = {"kind": "files", "paths": [str(tmp_path / "corpus.jsonl")]}
    source = ModelSource(str(tiny.tiny_gpt2(tmp_path / "model")))
    from sae_stability.corpus.documents import documents

    in_order = [text for text in documents(corpus, 3) if text.strip()]
    sizes = {"heldout_tokens": 700, "train_tokens": 1600, "chunk_tokens": 800}
    write_token_set(documents(corpus, 3), source, context_length=32, packing=True, **sizes, out=tmp_path / "tokens")
    used = 1 + max(some.document_id.max() for _, some in BlockFile(tmp_path / "tokens", 1).read())
    write_fresh_tokens(corpus=corpus, corpus_seed=3, tokens=tmp_path / "tokens", count=500, out=tmp_path / "fresh")
    expected = {"heldout_tokens": 500, "train_tokens": 0, "chunk_tokens": 500}
    write_token_set(in_order[used:], source, context_length=32, packing=True, **expected, out=tmp_path / "expected")
    found, wanted = (Texts(tmp_path / name).tokens for name in ("fresh", "expected"))
    assert np.array_equal(found, wanted)
    assert len(found) >= 500


def test_a_corpus_that_has_no_more_is_refused(planted: Planted, tmp_path: Path):
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in tiny.sentences(5)))
    corpus = {"kind": "files", "paths": [str(tmp_path / "corpus.jsonl")]}
    with pytest.raises(StudyError, match="the corpus is too small"):
        write_fresh_tokens(corpus=corpus, corpus_seed=0, tokens=planted.token_set, count=10, out=tmp_path / "fresh")
