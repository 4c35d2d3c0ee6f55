"""Data sets in local folders: what `save_to_disk` wrote, and what cannot be read."""

import gzip
import json
from pathlib import Path

import datasets
import pytest

from sae_stability.corpus.bad_rows import BadRows
from sae_stability.corpus.documents import check_documents, documents
from sae_stability.errors import StudyError

TEXTS = [f"text {number}" for number in range(6)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def read(name: Path, **settings) -> list[str]:
    return list(documents({"kind": "hub", "name": str(name), **settings}, 0))


def lines(path: Path, texts: list[str] = TEXTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


@pytest.mark.parametrize("streaming", [True, False])
def test_folders_that_save_to_disk_wrote_are_read(tmp_path, streaming):
    data = datasets.Dataset.from_dict({"text": TEXTS})
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "splits")
    assert read(tmp_path / "one", streaming=streaming) == TEXTS
    assert read(tmp_path / "splits", streaming=streaming) == TEXTS
    assert read(tmp_path / "splits", split="test", streaming=streaming) == TEXTS[:1]
    with pytest.raises(StudyError, match="has no split 'dev'; its splits are train, test"):
        read(tmp_path / "splits", split="dev")
    with pytest.raises(StudyError, match="no text in column 'body'; columns: text"):
        read(tmp_path / "one", text_column="body")


def test_a_folder_with_a_loading_script_is_one_line(tmp_path):
    lines(tmp_path / "crawl" / "corpus.jsonl")
    (tmp_path / "crawl" / "crawl.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(StudyError, match=r"data set '.*crawl' cannot be read: .*as a corpus of kind files"):
        read(tmp_path / "crawl")


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("name", ["b.jsonl", "b.parquet", "b.json.gz"])
def test_a_damaged_file_of_a_data_set_is_one_line(tmp_path, name, streaming):
    folder = tmp_path / "data"
    lines(folder / "a.jsonl")
    content = {
        "b.jsonl": b'{"text": "one"}\n{"te',
        "b.parquet": b"PAR1 no",
        "b.json.gz": gzip.compress(b"{}" * 99)[:-9],
    }
    (folder / "a.jsonl").unlink()
    (folder / name).write_bytes(content[name])
    with pytest.raises(StudyError, match=r"data set '.*data' cannot be read") as caught:
        read(folder, streaming=streaming)
    assert "\n" not in str(caught.value)


def test_rows_that_are_no_text_are_counted(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("text\n1\n2\n")
    bad_rows = BadRows("skip")
    spec = {"kind": "hub", "name": str(tmp_path / "data"), "on_bad_row": "skip"}
    assert list(documents(spec, 0, bad_rows)) == []
    assert bad_rows.skipped == 2
    with pytest.raises(StudyError, match=r"data', row 1: column 'text' holds int, not text"):
        read(tmp_path / "data")


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "a/b/c"])
def test_a_folder_that_is_not_there_is_named_before_anything_runs(name):
    with pytest.raises(StudyError, match=f"data set '{name}': no such folder"):
        check_documents({"kind": "hub", "name": name})


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(StudyError, match="is empty"):
        check_documents({"kind": "hub", "name": str(tmp_path)})
