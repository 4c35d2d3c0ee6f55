import itertools
import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_stability.corpus import documents as module
from sae_stability.corpus.documents import DEFAULTS, documents
from sae_stability.errors import StudyError
from sae_stability.study.schema import check, definition

ROOT = Path(__file__).parents[2]
LONG = "A sentence that says nothing at all, but at some length. " * 4


def docstrings_of(package: str, min_characters: int = 200) -> dict:
    return {"kind": "docstrings", "packages": [package], "min_characters": min_characters}


def files(path: Path, text_column: str = "text") -> dict:
    return {"kind": "files", "paths": [str(path)], "text_column": text_column}


def hub(folder: Path, streaming: bool = True) -> dict:
    settings = {"config": None, "split": "train", "text_column": "body", "revision": None, "streaming": streaming}
    return {"kind": "hub", "name": str(folder), **settings}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package whose import would fail, so that only parsing can read it."""
    folder = tmp_path / "site" / "planted_package"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text(f'"""Package. {LONG}"""\nraise RuntimeError("imported")\n')
    (folder / "sub" / "a.py").write_text(
        f'class A:\n    """Class. {LONG}"""\n    if True:\n'
        f'        async def f(self):\n            """Method. {LONG}"""\n'
    )
    (folder / "sub" / "b.py").write_text(f'def f():\n    """Method. {LONG}"""\n\ndef g():\n    """Short."""\n')
    (folder / "broken.py").write_text('"""Not Python 3."""\nprint "x"\n')
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def test_docstrings_are_read_without_import_and_once_each(package):
    texts = list(documents(docstrings_of("planted_package"), seed=0))
    assert sorted(text.split(".")[0] for text in texts) == ["Class", "Method", "Package"]
    assert "planted_package" not in sys.modules


def test_min_characters_decides_what_is_kept(package):
    texts = list(documents(docstrings_of("planted_package", 6), seed=0))
    assert "Short." in texts


def test_docstring_order_depends_on_the_seed_and_not_on_the_file_system(package):
    spec = docstrings_of("planted_package", 1)
    orders = {seed: list(documents(spec, seed)) for seed in range(6)}
    shutil.move(package / "sub" / "b.py", package / "another_name.py")
    assert list(documents(spec, 0)) == orders[0]
    assert len({tuple(order) for order in orders.values()}) > 1


def test_a_missing_package_is_named():
    with pytest.raises(StudyError, match="'no_such_package_here' is not installed"):
        list(documents(docstrings_of("no_such_package_here"), seed=0))


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(StudyError, match="'books' is unknown; allowed: docstrings, hub, files"):
        documents({"kind": "books"}, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paths": ["a.txt"], "text_column": "text", "colour": 1}, "'colour'"),
        ({"text_column": "text"}, "'paths'"),
    ],
    ids=["unknown", "missing"],
)
def test_a_wrong_key_is_named(settings, message):
    with pytest.raises(StudyError, match=f"corpus of kind 'files': .*{message}"):
        documents({"kind": "files", **settings}, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "files", "paths": "a.txt"}, "paths is 'a.txt'; it must be a list of texts"),
        ({"kind": "files", "paths": 5}, "paths is 5; it must be a list of texts"),
        ({"kind": "files", "paths": []}, "paths is .*; it must be a list of texts"),
        ({"kind": "files", "paths": ["a.txt"], "separator": ""}, "separator is ''; it must be a text"),
        ({"kind": "files", "paths": ["a.txt"], "text_column": None}, "text_column is None; it must be a text"),
        ({"kind": "hub", "name": None}, "name is None; it must be a text"),
        ({"kind": "hub", "name": "a", "streaming": "yes"}, "streaming is 'yes'; it must be true or false"),
        ({"kind": "docstrings", "packages": ["a"], "min_characters": "9"}, "'9'; it must be a whole number"),
    ],
)
def test_a_setting_of_a_wrong_type_is_named(settings, message):
    with pytest.raises(StudyError, match=message):
        documents(settings, seed=0)


VALUES = {"an integer": 3, "a list": ["a", "b"], "a mapping": {"a": "b"}, "bytes": b"a"}


def corpus_of(folder: Path, kind: str, values: list) -> dict:
    """A corpus with these values in the column `body`."""
    (folder / "data").mkdir()
    if kind == "jsonl":
        (folder / "data" / "a.jsonl").write_text("".join(json.dumps({"body": value}) + "\n" for value in values))
    else:
        pq.write_table(pa.table({"body": values}), folder / "data" / "a.parquet")
    if kind == "hub":
        return hub(folder / "data")
    return files(folder / "data" / "*", "body")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hub"])
@pytest.mark.parametrize("value", VALUES)
def test_what_is_not_text_is_named_with_its_place_and_type(tmp_path, kind, value):
    if (kind, value) == ("jsonl", "bytes"):
        pytest.skip("JSON has no bytes")
    name = type(VALUES[value]).__name__
    with pytest.raises(StudyError, match=rf"data.* 1: column 'body' holds {name}, not text; .* text_column"):
        list(documents(corpus_of(tmp_path, kind, [VALUES[value]] * 3), seed=0))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hub"])
def test_a_null_is_no_document(tmp_path, kind):
    assert sorted(documents(corpus_of(tmp_path, kind, [None, "one", None, "two"]), seed=0)) == ["one", "two"]


def test_files_of_every_format_give_their_documents(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.md").write_text("# three")
    (tmp_path / "c.jsonl").write_text('{"body": "four"}\n\n{"body": "five"}\n')
    pq.write_table(pa.table({"body": ["six", None, "seven"]}), tmp_path / "d.parquet")
    texts = list(documents(files(tmp_path / "*", "body"), seed=0))
    assert sorted(texts) == sorted(["one\ntwo", "# three", "four", "five", "six", "seven"])


def test_files_are_shuffled_by_the_seed_with_every_document_once_beyond_the_window(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHUFFLE_WINDOW", 5)
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"text": str(number)}) + "\n" for number in range(23)))
    first, again, other = (list(documents(files(path), seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(map(int, first)) == list(range(23))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.docx", "x", "no known format; allowed endings: .txt, .md, .jsonl, .json, .csv, .tsv, .parquet; after all"),
        ("a.parquet.gz", "x", "no known format"),
        ("a.csv", "x\n1", "no text in column 'text'; columns: x"),
        ("a.jsonl", "{", "line 1: not JSON"),
        ("a.jsonl", '{"body": "x"}', "no text in column 'text'; columns: body"),
        ("a.jsonl", "[1]", "no text in column 'text'"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.parquet", "no", "not readable as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyError, match=message) as caught:
        list(documents(files(tmp_path / name), seed=0))
    assert name in str(caught.value)


def test_a_pattern_without_files_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"no file matches '.*none\*'"):
        list(documents(files(tmp_path / "none*"), seed=0))


@pytest.mark.parametrize("streaming", [True, False])
def test_a_data_set_keeps_its_order(tmp_path: Path, streaming, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    rows = [{"body": f"text {number}"} for number in range(7)]
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = hub(tmp_path / "data", streaming=streaming)
    texts = documents(spec, seed=3)
    assert list(itertools.islice(texts, 5)) == [row["body"] for row in rows[:5]]
    with pytest.raises(StudyError, match="no text in column 'text'; columns: body"):
        list(documents({**spec, "text_column": "text"}, seed=3))


def test_a_data_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"data set '.*nothing'"):
        list(documents(hub(tmp_path / "nothing"), seed=0))


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "docstrings", "packages": ["planted_package"]},
        {"kind": "hub", "name": "nobody/none"},
        {"kind": "files", "paths": [str(ROOT / "README.md")]},
    ],
    ids=lambda settings: settings["kind"],
)
def test_a_study_fills_in_every_setting_that_documents_takes(settings, package):
    filled = check(settings, definition("corpus"))
    filled.pop("seed", None)
    documents(filled, seed=0)  # nothing is read before the first document is asked for


def test_settings_left_out_are_the_same_in_a_study_and_by_hand(tmp_path: Path, monkeypatch):
    filled = check({"kind": "hub", "name": "nobody/none"}, definition("corpus"))
    assert filled == {"kind": "hub", "name": "nobody/none"} | DEFAULTS["hub"]
    assert filled["streaming"] is True
    (tmp_path / "one.jsonl").write_text('{"text": "Some text."}\n')
    monkeypatch.chdir(tmp_path)
    by_hand = {"kind": "files", "paths": ["one.jsonl"]}
    assert list(documents(by_hand, seed=0)) == ["Some text."]
