"""Checksums of files, and the fingerprints that they are part of."""

import os
from pathlib import Path

import pytest

from sae_stability.files import sha256
from sae_stability.pipeline import contents
from sae_stability.pipeline.contents import Contents
from sae_stability.study.parts import Corpus, Model


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.tiktoken"])
def test_another_file_of_a_model_is_another_model(tmp_path: Path, name: str):
    folder = tmp_path / "model"
    folder.mkdir()
    model = Model(str(folder), slug="own", d_model=8, parameters=None, max_positions=None)
    found = []
    for content in ("one", "other"):
        (folder / name).write_text(content)
        found.append(Contents(tmp_path / "memory.json").of_model(model))
    assert found[0] != found[1]


def test_random_weights_are_known_by_their_seed_and_not_by_a_file(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()

    def found(seed: int | None) -> list:
        model = Model(str(folder), random_seed=seed, slug="own", d_model=8, parameters=None, max_positions=None)
        return Contents(tmp_path / "memory.json").of_model(model)

    (folder / "model.safetensors").write_text("one")
    before = [found(seed) for seed in (None, 0, 1)]
    assert all(a != b for i, a in enumerate(before) for b in before[:i])
    (folder / "model.safetensors").write_text("other")
    after = [found(seed) for seed in (None, 0, 1)]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, False]


def test_a_file_of_the_same_size_and_another_time_is_read_again(tmp_path: Path):
    file, found = tmp_path / "text", []
    for time, content in enumerate(("one", "two")):
        file.write_text(content)
        os.utime(file, ns=(time, time))
        found += Contents(tmp_path / "memory.json").of([file])
    assert found[0] != found[1]


def test_an_unchanged_file_is_read_once_and_a_touched_one_keeps_its_checksum(tmp_path: Path, monkeypatch):
    file = tmp_path / "text"
    file.write_text("one")
    read = []
    monkeypatch.setattr(contents, "sha256", lambda path: read.append(path) or sha256(path))
    found = [Contents(tmp_path / "memory.json").of([file]) for _ in range(2)]
    assert read == [str(file)]
    os.utime(file, ns=(1, 1))
    found.append(Contents(tmp_path / "memory.json").of([file]))
    assert len(read) == 2
    assert found[0] == found[1] == found[2]


def test_a_missing_file_is_not_an_empty_one(tmp_path: Path):
    (tmp_path / "empty").touch()
    missing, empty = Contents(tmp_path / "memory.json").of([tmp_path / "none", tmp_path / "empty"])
    assert missing == "missing"
    assert empty == sha256(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["files", "hub"])
def test_another_file_of_a_corpus_is_another_corpus(tmp_path: Path, kind: str):
    folder = tmp_path / "text"
    (folder / "part").mkdir(parents=True)
    documents = {"files": {"kind": "files", "paths": [f"{folder}/**/*"]}, "hub": {"kind": "hub", "name": str(folder)}}
    corpus = Corpus("own", documents[kind], 0)

    def found() -> list:
        return Contents(tmp_path / "memory.json").of_corpus(corpus)

    (folder / "part" / "a.jsonl").write_text('{"text": "one"}')
    states = [found()]
    (folder / "part" / "a.jsonl").write_text('{"text": "other"}')
    states.append(found())
    (folder / "part" / "a.jsonl").rename(folder / "part" / "a.txt")
    states.append(found())
    (folder / "part" / "b.txt").write_text("more")
    states.append(found())
    assert all(a != b for i, a in enumerate(states) for b in states[:i])
    if kind == "hub":
        (folder / ".cache").mkdir()
        (folder / ".cache" / "lock").write_text("")
        assert found() == states[-1]
