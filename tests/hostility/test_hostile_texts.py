"""Texts made to break readers, in every kind of corpus: read as they are, or refused in one line."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_stability import cli
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.documents import documents
from sae_stability.errors import StudyError
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from tests.tiny import tiny_gpt_neox

MARK = "\ufeff"
PIECES = [
    "".join(map(chr, range(1, 32))),  # control characters, with tabs and ends of lines
    "\x00 \x7f\x80\x85\x9f",
    "a\u2028b\u2029c\x0bd\x0ce\x1cf\x1eg",  # ends of lines to `str.splitlines`, and to no file format
    "<script>alert('x')</script><!-- &amp; ]]> </textarea><img src=x onerror=alert(1)>",
    "\u202etxet tfel-ot-thgir\u202c \u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645",
    f"a mark {MARK} inside, and \u200b\u200d\ufffe\uffff",
    "\U0001f469\u200d\U0001f52c e\u0301 \u0130\u0131\u1e9e \U0010ffff",
    "a\u0300" * 300,
    '=cmd|"/c calc"!A1, "quoted", \'single\', back\\slash, \\u0041, ${HOME} {braces} %s',
    "../../etc/passwd",
    "[CLS] [SEP] <|endoftext|> [PAD] <s></s>",
    " \t ",
    "word " * 400,
]
SEPARATOR = "\n<|next document|>\n"
DOCUMENTS = 40


def texts(seed: int) -> list[str]:
    """Documents of some pieces each; the first begins with a plain word, so that no file begins as UTF-16 does."""
    chance = random.Random(seed)
    drawn = ["".join(chance.choices(PIECES, k=chance.randint(1, 4))) for _ in range(DOCUMENTS - 1)]
    return [f"plain {chance.choice(PIECES)}", *drawn]


def lines(texts: list[str], *, ascii: bool = True) -> bytes:
    return "".join(json.dumps({"text": text}, ensure_ascii=ascii) + "\n" for text in texts).encode()


def table(texts: list[str], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "text"], *enumerate(texts)])
    return file.getvalue().encode()


def packed(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def parquet(texts: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), sink)
    return sink.getvalue()


FILES: dict[str, Callable[[list[str]], bytes]] = {
    "a.txt": lambda texts: SEPARATOR.join(texts).encode(),
    "a.md.gz": lambda texts: gzip.compress(SEPARATOR.join(texts).encode()),
    "a.jsonl": lines,
    "b.jsonl": lambda texts: lines(texts, ascii=False),
    "a.jsonl.zst": lambda texts: packed(lines(texts, ascii=False)),
    "a.json": lambda texts: json.dumps([{"text": text} for text in texts], ensure_ascii=False).encode(),
    "a.csv": lambda texts: table(texts, ","),
    "a.tsv.gz": lambda texts: gzip.compress(table(texts, "\t")),
    "a.parquet": parquet,
}
KINDS = [*FILES, "save_to_disk", "folder"]


def corpus(folder: Path, kind: str, texts: list[str]) -> dict:
    """Write the texts; return the corpus as a study says it."""
    if kind == "save_to_disk":
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(folder / "saved")
        return {"kind": "hub", "name": str(folder / "saved")}
    (folder / "texts").mkdir(parents=True)
    if kind == "folder":
        (folder / "texts" / "a.parquet").write_bytes(parquet(texts))
        return {"kind": "hub", "name": str(folder / "texts")}
    path = folder / "texts" / kind
    path.write_bytes(FILES[kind](texts))
    separator = {"separator": SEPARATOR} if kind in ("a.txt", "a.md.gz") else {}
    return {"kind": "files", "paths": [str(path)], **separator}


def as_read(kind: str, texts: list[str]) -> list[str]:
    """What should be read: each text as it is, but for a mark at its beginning; and text files have one end of line."""
    if kind in ("a.txt", "a.md.gz"):
        parts = SEPARATOR.join(texts).replace("\r\n", "\n").replace("\r", "\n").split(SEPARATOR)
        texts = [part for part in parts if part.strip()]
    return [text.removeprefix(MARK) for text in texts]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_gpt_neox(tmp_path_factory.mktemp("models") / "gpt_neox")


def run(spec: dict, model: Path, out: Path, tokens: int = 2000) -> int:
    counts = ["--context-length=16", "--heldout-tokens=100", f"--train-tokens={tokens}", "--chunk-tokens=1000"]
    return cli.main(["tokenize", f"--corpus={json.dumps(spec)}", f"--tokenizer={model}", *counts, f"--out={out}"])


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_are_tokenized_as_they_are(tmp_path, model, kind):
    written = [f"{MARK} marked", *texts(KINDS.index(kind))] if kind != "a.txt" else texts(0)
    spec = corpus(tmp_path / "given", kind, written)
    read = list(documents(spec, 0))
    assert sorted(read) == sorted(as_read(kind, written))
    given = sorted(tmp_path.rglob("*"))
    assert run(spec, model, tmp_path / "results" / "tokens") == 0
    made = {path for path in tmp_path.rglob("*") if path not in given and "cache" not in path.parts}
    names = ["heldout.parquet", "chunk-0000.parquet", "chunk-0001.parquet", "manifest.json"]
    folders = {tmp_path / "results", tmp_path / "results" / "tokens"}
    assert made == folders | {tmp_path / "results" / "tokens" / name for name in names}
    tokenizer = load_tokenizer(ModelSource(str(model)))
    ids = [tokenizer(text)["input_ids"] for text in read]
    for _, blocks, kept in BlockFile(tmp_path / "results" / "tokens", 0).kept(keep_special=True):
        places = zip(blocks.document_id[kept], blocks.position[kept], blocks.tokens[kept], strict=True)
        assert all(ids[document][place] == token for document, place, token in places if place >= 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_ten_megabytes_is_one_document(tmp_path, kind):
    long = "<b>long</b> \u05e9 " * 600_000
    spec = corpus(tmp_path, kind, ["short", long])
    assert sorted(map(len, documents(spec, 0))) == [5, len(long)]


SPOILT = {
    "a.txt": (b"byte \xff", "not UTF-8"),
    "a.md.gz": (gzip.compress(b"byte \xff"), "not UTF-8"),
    "a.jsonl": (b'{"text": "half \\ud83d of one"}', "half of a character"),
    "a.json": (b'[{"text": "half \\udc00 of one"}]', "half of a character"),
    "a.csv": (b'id,text\n1,"byte \xff"\n', "not UTF-8"),
    "a.tsv.gz": (gzip.compress(b"id\ttext\n1\tbyte \xff\n"), "not UTF-8"),
    "a.jsonl.zst": (packed(b'{"text": "byte \xff"}'), "not UTF-8"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_is_no_text_is_one_line_or_mended(tmp_path, kind, model, capsys):
    content, fault = SPOILT[kind]
    (tmp_path / kind).write_bytes(content)
    spec = {"kind": "files", "paths": [str(tmp_path / kind)]}
    assert run(spec, model, tmp_path / "tokens") == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"error: {tmp_path / kind}")
    assert fault in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [kind]
    (mended,) = documents(spec | {"on_bad_row": "replace"}, 0)
    assert "\ufffd" in mended


def test_bytes_that_are_no_text_in_a_saved_data_set_are_one_line(tmp_path, model, capsys):
    stored = pa.array([b"ok", b"byte \xff"])
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 2, stored.buffers())})
    datasets.Dataset(table).save_to_disk(tmp_path / "saved")
    spec = {"kind": "hub", "name": str(tmp_path / "saved")}
    assert run(spec, model, tmp_path / "tokens") == 2
    assert f"data set '{tmp_path / 'saved'}'" in capsys.readouterr().err.strip().splitlines()[-1]


def test_names_of_files_may_hold_anything_that_a_disk_takes(tmp_path, model, capsys):
    folder = tmp_path / "a\nb\u202e <script> \udcff"
    folder.mkdir()
    (folder / "{x}[y]*?.jsonl").write_bytes(lines(texts(1)) * 2 + b"{")
    spec = {"kind": "files", "paths": [str(folder / "{x}[y]*?.jsonl")]}
    with pytest.raises(StudyError, match="line 81: not JSON"):
        list(documents(spec, 0))
    assert run(spec | {"on_bad_row": "skip"}, model, tmp_path / "tokens") == 0
