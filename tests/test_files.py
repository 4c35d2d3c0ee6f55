"""Atomic writes: a file appears complete or not at all."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sae_stability.files import atomic, clear_workplaces, move, publish, workplace

KILLED = """
import os, signal, sys
from sae_stability.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text("half")
    temporary.with_name(".tmpA1b2C3").write_text("another name for it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An existing file, and beside it the unfinished next version that a killed process left."""
    (tmp_path / "large").write_text("old")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "workflow")}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "large")], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4  # and the lock
    return tmp_path / "large"


def test_the_next_write_removes_what_a_killed_process_left(path: Path):
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_removes_it_too(path: Path):
    with pytest.raises(ValueError, match="mistake"), atomic(path):
        raise ValueError("mistake")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_left_behind_is_removed_without_writing(path: Path):
    for _ in range(2):  # the second time there is nothing to remove
        clear_workplaces(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_workplace_in_use_is_let_alone(tmp_path: Path):
    with workplace(tmp_path / "large") as first, workplace(tmp_path / "large") as second:
        assert first != second
        (first / "large").write_text("1")
        clear_workplaces(tmp_path / "large")
        assert (first / "large").read_text() == "1"
    assert list(tmp_path.iterdir()) == []


def test_two_jobs_that_publish_the_same_files_are_both_content(tmp_path: Path):
    with workplace(tmp_path / "out") as first, workplace(tmp_path / "out") as second:
        for folder in (first, second):
            for name in ("shard", "manifest"):
                (folder / name).write_text(name)
        publish(first, tmp_path / "out", ["shard", "manifest"])
        publish(second, tmp_path / "out", ["shard", "manifest"])
    assert {file.name: file.read_text() for file in (tmp_path / "out").iterdir()} == {
        "shard": "shard",
        "manifest": "manifest",
    }


MANY = """
import os, sys
from pathlib import Path
from sae_stability.files import read_json, write_json
os.fsync = lambda file: None  # the disk's time is of no matter here
os.fork() and os.fork()
for number in range(200):
    write_json(sys.argv[1], {"number": 1})
    assert read_json(sys.argv[1]) == {"number": 1}
"""


def test_many_processes_write_one_file_at_once(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "workflow")}
    command = [sys.executable, "-c", MANY, str(tmp_path / "file.json")]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "", "written by all three, until the last one is over"
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path):
    for umask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(umask)
        try:
            with atomic(tmp_path / "file") as temporary:
                temporary.write_text("x")
                temporary.chmod(0o600)
        finally:
            os.umask(before)
        assert (tmp_path / "file").stat().st_mode & 0o777 == mode


@contextlib.contextmanager
def moved(path: Path):
    """A file written in a workplace and moved, as large files are."""
    with workplace(path) as folder:
        yield folder / path.name
        move(folder / path.name, path)


@pytest.mark.parametrize("writer", [atomic, moved])
def test_the_content_is_on_the_disk_before_the_file_has_its_name(tmp_path: Path, monkeypatch, writer):
    synced, real = [], os.fsync

    def fsync(descriptor: int) -> None:
        # The whole content, and no file of the final name yet.
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size, (tmp_path / "table").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with writer(tmp_path / "table") as temporary:
        temporary.write_text("1,000 rows")
    assert synced == [((tmp_path / "table").stat().st_ino, len("1,000 rows"), False)]


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from sae_stability import files
from sae_stability.errors import StudyError

path = Path(sys.argv[1])
def text(temporary): temporary.write_text("x" * 100_000)
def tensors(temporary):
    from safetensors.numpy import save_file
    save_file({"encoder": np.zeros(100_000)}, temporary)
def table(temporary):
    import pyarrow as pa, pyarrow.parquet as pq
    pq.write_table(pa.table({"numbers": np.random.default_rng(0).random(100_000)}), temporary)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with files.atomic(path) as temporary:
        globals()[sys.argv[2]](temporary)
except StudyError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["text", "tensors", "table"])
def test_a_full_disk_gives_one_line_that_names_the_file(tmp_path: Path, kind: str):
    (tmp_path / "large").write_text("old")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "workflow")}
    command = [sys.executable, "-c", FULL, str(tmp_path / "large"), kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("File too large") == 1, done.stderr
    assert all(line.startswith(f"{tmp_path}/large: cannot be written (") for line in done.stdout.splitlines())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
