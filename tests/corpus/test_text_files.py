"""Local text as it is: compressed, with byte order marks, in one large file, with bad rows."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_stability.corpus.bad_rows import BadRows
from sae_stability.corpus.documents import documents
from sae_stability.errors import StudyError

MARK = b"\xef\xbb\xbf"


def read(path: Path, bad_rows: BadRows | None = None, **settings) -> list[str]:
    spec = {"kind": "files", "paths": [str(path)], **settings}
    if bad_rows:
        spec["on_bad_row"] = bad_rows.action
    return sorted(documents(spec, 0, bad_rows))


def zstd(data: bytes, folder: Path) -> bytes:
    with pa.output_stream(str(folder / "packed"), compression="zstd") as file:
        file.write(data)
    return (folder / "packed").read_bytes()


CONTENTS = {
    ".txt": b"one",
    ".jsonl": b'{"text": "one"}\n{"text": "two"}\n',
    ".json": json.dumps([{"text": "one"}, {"text": "two"}], indent=1).encode(),
    ".csv": b'id,text\r\n1,"one"\r\n2,two\r\n',
    ".tsv": b"id\ttext\n1\tone\n2\ttwo\n",
}


@pytest.mark.parametrize("mark", [b"", MARK], ids=["plain", "marked"])
@pytest.mark.parametrize("packed", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("kind", list(CONTENTS))
def test_every_format_may_be_compressed_and_begin_with_a_byte_order_mark(tmp_path, kind, packed, mark):
    data = mark + CONTENTS[kind]
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    content = zstd(data, tmp_path) if packed == ".zst" else pack[packed](data)
    (tmp_path / f"text{kind.upper()}{packed}").write_bytes(content)
    assert read(tmp_path / f"text{kind.upper()}{packed}") == (["one"] if kind == ".txt" else ["one", "two"])


@pytest.mark.parametrize("packed", [".gz", ".bz2", ".xz", ".zst"])
def test_files_that_were_joined_are_read_to_the_end(tmp_path, packed):
    parts = [MARK + json.dumps({"text": text}).encode() + b"\n" for text in ("one", "two")]
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    content = b"".join(zstd(part, tmp_path) if packed == ".zst" else pack[packed](part) for part in parts)
    (tmp_path / f"text.jsonl{packed}").write_bytes(content)
    assert read(tmp_path / f"text.jsonl{packed}") == ["one", "two"]


@pytest.mark.parametrize("packed", [".gz", ".bz2", ".xz", ".zst"])
def test_a_compressed_file_that_breaks_off_is_named(tmp_path, packed):
    data = "".join(json.dumps({"text": str(number)}) + "\n" for number in range(5000)).encode()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    content = zstd(data, tmp_path) if packed == ".zst" else pack[packed](data)
    path = tmp_path / f"text.jsonl{packed}"
    path.write_bytes(content[:-30])
    with pytest.raises(StudyError, match=rf"{path.name}: cannot be read: .*; mend it, fetch it again, or take it off"):
        read(path)
    path.write_bytes(b"not compressed")
    with pytest.raises(StudyError, match=f"{path.name}: cannot be read: "):
        read(path)


def test_a_separator_cuts_a_large_file_wherever_the_pieces_end(tmp_path, monkeypatch):
    monkeypatch.setattr("sae_stability.corpus.text_files._PIECE", 7)
    texts = [f"text {number} " * (number % 5 + 1) for number in range(30)]
    (tmp_path / "all.txt").write_text("<|end|>".join([*texts, "", " \n "]))
    assert read(tmp_path / "all.txt", separator="<|end|>") == sorted(texts)
    assert len(read(tmp_path / "all.txt")) == 1


def test_utf_16_is_refused_by_name(tmp_path):
    (tmp_path / "a.jsonl").write_bytes('{"text": "one"}'.encode("utf-16"))
    with pytest.raises(StudyError, match=r"its first bytes say UTF-16.; convert it to UTF-8"):
        read(tmp_path / "a.jsonl")


LINES = [
    (b'{"text": "one"}', None, ["one"]),
    (b'{"text": "half \\ud83d"}', "half of a character", ["half \ufffd"]),
    (b'{"text": "byte \xe4"}', "not UTF-8 .byte 0xe4", ["byte \ufffd"]),
    (b"not JSON", "not JSON", []),
    (b"[" * 100_000, "not JSON", []),
    (b'{"other": 1}', "no text in column 'text'; columns: other", []),
    (b'{"text": 3}', "column 'text' holds int, not text", []),
]


@pytest.mark.parametrize(("line", "fault", "_mended"), LINES[1:])
def test_a_bad_line_is_named_with_its_number(tmp_path, line, fault, _mended):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([LINES[0][0], b"", line]))
    with pytest.raises(StudyError, match=f"a.jsonl, line 3: {fault}.*set on_bad_row of the corpus to skip or replace"):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(("action", "skipped", "replaced"), [("skip", 6, 0), ("replace", 4, 2)])
def test_bad_lines_are_left_out_or_mended_and_counted(tmp_path, action, skipped, replaced):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(line for line, _, _ in LINES))
    bad_rows = BadRows(action)
    mended = [text for _, _, texts in LINES for text in texts]
    assert read(tmp_path / "a.jsonl", bad_rows) == (sorted(mended) if action == "replace" else ["one"])
    assert (bad_rows.skipped, bad_rows.replaced) == (skipped, replaced)
    assert bad_rows.first == f"{tmp_path / 'a.jsonl'}, line 2: half of a character (U+D83D)"


def test_text_in_parquet_that_is_not_utf_8_is_named_with_its_row(tmp_path):
    stored = pa.array([b"ok", b"byte \xe4", None, b""])
    text = pa.Array.from_buffers(pa.string(), 4, stored.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    with pytest.raises(StudyError, match=r"a.parquet, row 2: not UTF-8"):
        read(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", BadRows("skip")) == ["", "ok"]
    assert read(tmp_path / "a.parquet", BadRows("replace")) == ["", "byte \ufffd", "ok"]


def test_damaged_pages_of_parquet_name_the_file(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text number {number}" for number in range(500)]}), path)
    content = bytearray(path.read_bytes())
    content[300:900] = bytes(byte ^ 0x5A for byte in content[300:900])
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"a.parquet: not readable as Parquet"):
        read(path)


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    (tmp_path / "text[1].txt").write_text("one")
    assert read(tmp_path / "text[1].txt") == ["one"]


def test_a_long_field_of_csv_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("text\n" + "x" * 200_000 + "\n")
    assert [len(text) for text in read(tmp_path / "a.csv")] == [200_000]


def test_an_unknown_action_lists_the_known_ones(tmp_path):
    with pytest.raises(StudyError, match="on_bad_row 'ignore' is unknown; allowed: error, skip, replace"):
        documents({"kind": "files", "paths": ["a.txt"], "on_bad_row": "ignore"}, 0)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark_is_not_read_as_text_full_of_zeros(tmp_path, encoding):
    (tmp_path / "text.txt").write_bytes("one".encode(encoding))
    with pytest.raises(StudyError, match="its first bytes say UTF-16"):
        read(tmp_path / "text.txt")


@pytest.mark.parametrize(
    ("kind", "line"), [(".csv", '2,"never closed\n3,three\n'), (".tsv", '2\t"One," he said\n3\tthree\n')]
)
def test_a_quotation_mark_that_is_not_closed_does_not_swallow_the_rows_after_it(tmp_path, kind, line):
    head = "id,text\n1,one\n" if kind == ".csv" else "id\ttext\n1\tone\n"
    (tmp_path / f"text{kind}").write_text(head + line)
    with pytest.raises(StudyError, match=r"text\.[ct]sv, line \d: not CSV \(.*\); put text that holds quotation"):
        read(tmp_path / f"text{kind}")
