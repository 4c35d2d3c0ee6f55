"""What a fingerprint hangs on."""

from pathlib import Path

import pytest

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
