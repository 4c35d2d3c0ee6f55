"""Atomic writes: a file appears complete or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sae_stability import files
from sae_stability.files import atomic_alone, discard

KILLED = """
import os, signal, sys
from sae_stability.files import atomic_alone
with atomic_alone(sys.argv[1]) as temporary:
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
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3
    return tmp_path / "large"


def test_the_next_write_removes_what_a_killed_process_left(path: Path):
    with atomic_alone(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_removes_it_too(path: Path):
    with pytest.raises(ValueError, match="mistake"), atomic_alone(path):
        raise ValueError("mistake")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_discard_removes_it_without_writing(path: Path):
    for _ in range(2):  # the second time there is nothing to remove
        discard(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_where_the_temporary_folder_should_be_is_replaced(tmp_path: Path):
    (tmp_path / ".large.tmp").write_text("whose?")
    with atomic_alone(tmp_path / "large") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "large").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


@pytest.mark.parametrize("writer", [files.atomic, files.atomic_alone])
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
for atomic in (files.atomic, files.atomic_alone):
    try:
        with atomic(path) as temporary:
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
    assert done.stdout.count("File too large") == 2, done.stderr
    assert all(line.startswith(f"{tmp_path}/large: cannot be written (") for line in done.stdout.splitlines())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
