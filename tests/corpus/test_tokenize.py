import json
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_stability.corpus.blocks import BlockFile, metadata
from sae_stability.corpus.documents import documents
from sae_stability.corpus.packing import Blocks, Layout, joined, one_a_block, pack
from sae_stability.corpus.tokenize import tokenize, write_token_set
from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from tests.tiny import sentences, tiny_bert, tiny_gpt_neox, tiny_llama

PREFIX, SUFFIX, SEPARATOR, PAD = 91, 92, 93, 90
LAYOUT = Layout(8, (PREFIX,), (SUFFIX,), SEPARATOR, PAD, frozenset({PREFIX, SUFFIX, SEPARATOR, PAD}))
BARE = Layout(4, (), (), None, 0, frozenset())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    makers = {"bert": tiny_bert, "gpt_neox": tiny_gpt_neox, "llama": tiny_llama}
    return {name: make(folder / name) for name, make in makers.items()}


def write(out: Path, model: Path, **changes) -> dict:
    arguments = {
        "texts": sentences(120),
        "source": ModelSource(str(model)),
        "context_length": 16,
        "packing": True,
        "heldout_tokens": 150,
        "train_tokens": 1000,
        "chunk_tokens": 300,
        "out": out,
    }
    return write_token_set(**{**arguments, **changes})


def text_tokens(folder: Path, chunk: int | str) -> list[tuple[int, int, int]]:
    """(document, position, token) of every trainable token that belongs to a chunk, in order."""
    found = []
    for _, blocks, kept in BlockFile(folder, chunk).kept():
        found += zip(
            blocks.document_id[kept].tolist(), blocks.position[kept].tolist(), blocks.tokens[kept].tolist(), strict=True
        )
    return found


def test_packed_blocks_show_specials_positions_and_document_borders():
    blocks = joined(list(pack([(0, [1, 2, 3, 4]), (1, [5, 6, 7, 8, 9, 10]), (2, [11])], LAYOUT)))
    assert blocks.tokens.tolist() == [
        [PREFIX, 1, 2, 3, 4, SEPARATOR, 5, SUFFIX],
        [PREFIX, 6, 7, 8, 9, 10, SEPARATOR, SUFFIX],
    ]
    assert blocks.document_id.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1], [1] * 8]
    assert blocks.position.tolist() == [[-1, 0, 1, 2, 3, -1, 0, -1], [-1, 1, 2, 3, 4, 5, -1, -1]]
    assert blocks.special.tolist() == [
        [True, False, False, False, False, True, False, True],
        [True, False, False, False, False, False, True, True],
    ]


def test_one_document_a_block_is_truncated_or_padded():
    blocks = joined(list(one_a_block([(3, [1, 2]), (4, [1, 2, 3, 4, 5, 6, 7]), (5, [SEPARATOR])], LAYOUT)))
    assert blocks.tokens.tolist() == [[PREFIX, 1, 2, SUFFIX, PAD, PAD, PAD, PAD], [PREFIX, 1, 2, 3, 4, 5, 6, SUFFIX]]
    assert blocks.document_id.tolist() == [[3, 3, 3, 3, -1, -1, -1, -1], [4] * 8]
    assert blocks.position.tolist() == [[-1, 0, 1, -1, -1, -1, -1, -1], [-1, 0, 1, 2, 3, 4, 5, -1]]
    assert blocks.trainable.sum() == 8


def test_a_tokenizer_without_special_tokens_gives_text_alone():
    blocks = joined(list(pack([(0, [0, 1, 2]), (1, [3, 4, 5])], BARE)))
    assert blocks.tokens.tolist() == [[0, 1, 2, 3]]
    assert not blocks.special.any()


def test_a_special_id_inside_a_text_counts_as_special():
    blocks = joined(list(one_a_block([(0, [1, SEPARATOR, 2])], LAYOUT)))
    assert blocks.special[0].tolist() == [True, False, True, False, True, True, True, True]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", ["bert", "gpt_neox", "llama"])
def test_blocks_hold_what_the_tokenizer_gives(models, tmp_path, name, packing):
    texts = sentences(120)
    write(tmp_path, models[name], packing=packing)
    tokenizer = load_tokenizer(ModelSource(str(models[name])))
    expected = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    for chunk in ("heldout", 0, 1, 2, 3):
        for document, position, token in text_tokens(tmp_path, chunk):
            assert expected[document][position] == token
        for _, blocks in BlockFile(tmp_path, chunk).read():
            whole = tokenizer("x")["input_ids"]
            assert (blocks.tokens[:, : len(whole) - 1] == whole[: len(whole) - 1]).all() or name == "bert"
            if name == "bert":
                lengths = (blocks.document_id >= 0).sum(axis=1)
                assert (blocks.tokens[:, 0] == tokenizer.cls_token_id).all()
                assert (blocks.tokens[np.arange(len(blocks)), lengths - 1] == tokenizer.sep_token_id).all()
            assert not np.isin(blocks.tokens[blocks.trainable], [tokenizer.bos_token_id, tokenizer.eos_token_id]).any()


def test_packed_gpt_neox_documents_are_separated_by_end_of_text(models, tmp_path):
    write(tmp_path, models["gpt_neox"])
    blocks = joined([blocks for _, blocks in BlockFile(tmp_path, 0).read()])
    tokens, documents = blocks.tokens.ravel(), blocks.document_id.ravel()
    borders = np.flatnonzero(documents[1:] != documents[:-1])
    assert len(borders) > 2
    assert (tokens[borders] == 0).all()
    assert blocks.special.sum() == (tokens == 0).sum()


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("chunk_tokens", [7, 100, 333, 999, 5000])
def test_chunks_divide_the_same_tokens_wherever_the_borders_fall(models, tmp_path, chunk_tokens, packing):
    whole = write(tmp_path / "whole", models["bert"], packing=packing, chunk_tokens=1000)
    parts = write(tmp_path / "parts", models["bert"], packing=packing, chunk_tokens=chunk_tokens)
    assert len(whole["chunks"]) == 1
    chunks = range(len(parts["chunks"]))
    found = [text_tokens(tmp_path / "parts", chunk) for chunk in chunks]
    assert [token for part in found for token in part] == text_tokens(tmp_path / "whole", 0)
    assert [len(part) for part in found] == [min(chunk_tokens, 1000 - chunk * chunk_tokens) for chunk in chunks]


@pytest.mark.parametrize("packing", [True, False])
def test_shuffled_text_has_the_same_tokens_in_another_order_and_all_else_in_its_place(models, tmp_path, packing):
    def blocks(name: str, chunk: int | str) -> Blocks:
        return joined([some for _, some in BlockFile(tmp_path / name, chunk).read()])

    seeds = {"plain": None, "shuffled": 0, "again": 0, "otherwise": 1}
    manifests = {
        name: write(tmp_path / name, models["bert"], packing=packing, shuffle_seed=seed) for name, seed in seeds.items()
    }
    assert [manifest["shuffled"] for manifest in manifests.values()] == [False, True, True, True]
    for chunk in ("heldout", 0, 1, 2, 3):
        plain, shuffled, again, otherwise = (blocks(name, chunk) for name in seeds)
        text = plain.trainable
        for name in ("document_id", "position", "special"):
            assert np.array_equal(getattr(plain, name), getattr(shuffled, name))
        assert np.array_equal(plain.tokens[~text], shuffled.tokens[~text])
        assert np.array_equal(np.sort(plain.tokens[text]), np.sort(shuffled.tokens[text]))
        # Frequent tokens meet themselves by chance.
        assert (plain.tokens[text] == shuffled.tokens[text]).mean() < 0.2
        assert np.array_equal(shuffled.tokens, again.tokens)
        assert not np.array_equal(shuffled.tokens, otherwise.tokens)
    assert manifests["shuffled"]["chunks"] == manifests["again"]["chunks"]


def test_tokens_are_shuffled_within_a_row_group(monkeypatch, models, tmp_path):
    monkeypatch.setattr("sae_stability.corpus.tokenize._ROW_GROUP_TOKENS", 160)
    write(tmp_path / "plain", models["gpt_neox"])
    write(tmp_path / "shuffled", models["gpt_neox"], shuffle_seed=0)
    plain, shuffled = ([some for _, some in BlockFile(tmp_path / name, 0).read()] for name in ("plain", "shuffled"))
    assert len(shuffled) == len(plain) > 1
    for before, after in zip(plain, shuffled, strict=True):
        assert np.array_equal(np.sort(before.tokens, axis=None), np.sort(after.tokens, axis=None))


def test_special_tokens_are_divided_without_loss_or_repetition(models, tmp_path):
    def kept(folder, chunk):
        return Counter(
            (first + block) * 16 + offset
            for first, _, mask in BlockFile(folder, chunk).kept(keep_special=True)
            for block, offset in np.argwhere(mask).tolist()
        )

    write(tmp_path / "whole", models["bert"], chunk_tokens=1000)
    parts = write(tmp_path / "parts", models["bert"], chunk_tokens=77)
    total = sum((kept(tmp_path / "parts", chunk) for chunk in range(len(parts["chunks"]))), Counter())
    assert max(total.values()) == 1
    difference = set(kept(tmp_path / "whole", 0)) ^ set(total)
    assert not difference


def test_no_document_is_both_held_out_and_trained_on(models, tmp_path):
    manifest = write(tmp_path, models["llama"])
    heldout = {document for document, _, _ in text_tokens(tmp_path, "heldout")}
    train = {document for chunk in range(4) for document, _, _ in text_tokens(tmp_path, chunk)}
    assert manifest["heldout"]["tokens"] == len(text_tokens(tmp_path, "heldout")) == 150
    assert max(heldout) < min(train)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(3, 12))
def test_packing_loses_only_the_last_unfilled_block(lengths, context_length):
    layout = Layout(context_length, (PREFIX,), (SUFFIX,), SEPARATOR, PAD, LAYOUT.special)
    documents = [(number, list(range(length))) for number, length in enumerate(lengths)]
    stream = [(n, p) for n, ids in documents for p in [*range(len(ids)), -1]]
    found = list(pack(documents, layout))
    inside = [
        pair
        for blocks in found
        for pair in zip(
            blocks.document_id[:, 1:-1].ravel().tolist(), blocks.position[:, 1:-1].ravel().tolist(), strict=True
        )
        if pair[1] >= 0
    ]
    assert inside == [pair for pair in stream[: len(stream) // layout.body * layout.body] if pair[1] >= 0]


def test_a_corpus_that_is_too_small_says_what_it_has(models, tmp_path):
    with pytest.raises(StudyError, match=r"too small: [\d,]+ training tokens found, 1,000,000 asked for"):
        write(tmp_path, models["bert"], train_tokens=1_000_000)
    with pytest.raises(StudyError, match="held-out tokens found"):
        write(tmp_path, models["bert"], heldout_tokens=1_000_000)
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name or path.name == "manifest.json"]


def test_a_context_too_short_for_the_special_tokens_is_refused(models, tmp_path):
    with pytest.raises(StudyError, match="context_length 2 leaves no room for text"):
        write(tmp_path, models["bert"], context_length=2)


def test_a_damaged_block_file_is_named(models, tmp_path):
    write(tmp_path, models["bert"])
    path = tmp_path / "chunk-0001.parquet"
    path.write_bytes(path.read_bytes()[:-9] + b"overwrite")
    BlockFile(tmp_path, 0)
    with pytest.raises(StudyError, match=r"chunk-0001\.parquet.*delete"):
        BlockFile(tmp_path, 1)
    with pytest.raises(StudyError, match="no chunk 4; it has chunks 0 to 3"):
        BlockFile(tmp_path, 4)


def test_files_say_their_place_and_the_same_corpus_gives_the_same_bytes(models, tmp_path):
    first, second = (write(tmp_path / name, models["bert"]) for name in ("a", "b"))
    assert first == second
    entry = first["chunks"][1]
    assert metadata(tmp_path / "a" / entry["file"]) == {key: entry[key] for key in ("first_block", "skip", "tokens")}
    assert read_json(tmp_path / "a" / "manifest.json") == first


def test_a_full_disk_is_told_of_with_the_file_and_leaves_no_other(models, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"out.*heldout.parquet: cannot be written \(.*File too large"):
            write(tmp_path / "out", models["bert"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_missing_tokenizer_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match=r"tokenizer '.*empty'"):
        load_tokenizer(ModelSource(str(tmp_path / "empty")))


def test_bad_rows_are_counted_in_the_manifest_and_told(models, tmp_path, capsys):
    rows = [json.dumps({"text": text}) for text in sentences(60)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows[:2], "not JSON", *rows[2:]]))
    corpus = {"kind": "files", "paths": [str(tmp_path / "a.jsonl")]}
    sizes = {"context_length": 16, "heldout_tokens": 100, "train_tokens": 300, "chunk_tokens": 300}
    given = {"tokenizer": str(models["bert"]), "out": tmp_path / "tokens", **sizes}
    with pytest.raises(StudyError, match="line 3: not JSON"):
        tokenize(corpus=corpus, **given)
    found = tokenize(corpus=corpus | {"on_bad_row": "skip"}, **given)["bad_rows"]
    assert (found["skipped"], found["replaced"]) == (1, 0)
    assert "line 3: not JSON" in found["first"]
    assert "tokenize: 1 bad rows left out, 0 mended, the first" in capsys.readouterr().err


def test_one_large_text_file_says_that_it_is_one_document_and_how_to_cut_it(models, tmp_path):
    (tmp_path / "all.txt").write_text("\n\n".join(sentences(60)))
    corpus = {"kind": "files", "paths": [str(tmp_path / "all.txt")]}
    sizes = {"context_length": 16, "heldout_tokens": 100, "train_tokens": 300, "chunk_tokens": 300}
    given = {"tokenizer": str(models["bert"]), "out": tmp_path / "tokens", **sizes}
    with pytest.raises(StudyError, match=r"in 1 document; .*A .txt or .md file is one document.* set separator"):
        tokenize(corpus=corpus, **given)
    assert tokenize(corpus=corpus | {"separator": "\n\n"}, **given)["bad_rows"]["first"] is None


def test_the_verb_reads_the_corpus_itself(models, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(60)))
    corpus = {"kind": "files", "paths": [str(tmp_path / "a.jsonl")], "text_column": "text"}
    sizes = {"context_length": 16, "heldout_tokens": 100, "train_tokens": 300, "chunk_tokens": 300}
    found = tokenize(corpus=corpus, corpus_seed=3, tokenizer=str(models["bert"]), out=tmp_path / "verb", **sizes)
    texts = documents(corpus, 3)
    source = ModelSource(str(models["bert"]))
    assert found == write_token_set(texts, source, packing=True, out=tmp_path / "parts", **sizes)
    assert found["revision"] is None
    other = tokenize(corpus=corpus, corpus_seed=4, tokenizer=str(models["bert"]), out=tmp_path / "other", **sizes)
    assert other["heldout"]["sha256"] != found["heldout"]["sha256"]
