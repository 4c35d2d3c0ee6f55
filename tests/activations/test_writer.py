"""Memory of the writer, and bytes that do not depend on threads."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability.activations.writer import ChunkWriter, shuffled_order
from sae_stability.errors import StudyError

MEASURED = """
import sys
from pathlib import Path
import numpy as np, torch
from sae_stability.activations.writer import ChunkWriter, shuffled_order

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

torch.set_num_threads(1)
for part, rows in (("warm-up", 100), ("measured", 40_000)):
    writer = ChunkWriter(Path(sys.argv[1]) / part, 384, "float32", shuffled_order(0, 0, 1), np.array([rows]), {})
    for start in range(0, rows, 1000):
        writer.add(torch.randn(min(rows, 1000), 384), np.arange(start, start + min(rows, 1000)))
    before = status("VmRSS")
    writer.finish({})
print((status("VmHWM") - before) / (40_000 * 384 * 4))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_finishing_takes_two_copies_of_a_shard(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "workflow")}
    command = [sys.executable, "-c", MEASURED, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.5


def write(folder: Path, threads: int) -> dict[str, bytes]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = 70_000
        writer = ChunkWriter(folder, 8, "float16", shuffled_order(0, 0, 1), np.array([rows]), {})
        values = torch.randn(rows, 8, generator=torch.Generator().manual_seed(0))
        for start in range(0, rows, 1000):
            writer.add(values[start : start + 1000], np.arange(start, start + 1000))
        writer.finish({})
    finally:
        torch.set_num_threads(before)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_number_of_threads_changes_no_byte(tmp_path):
    assert write(tmp_path / "one", 1) == write(tmp_path / "three", 3)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from sae_stability.activations import writer

save_file = writer.save_file

def save(tensors, path, metadata):
    save_file(tensors, path, metadata)
    os.kill(os.getpid(), signal.SIGKILL)

writer.save_file = save
order = writer.shuffled_order(0, 0, 1)
chunk = writer.ChunkWriter(Path(sys.argv[1]), 8, "float32", order, np.array([100]), {})
chunk.add(torch.randn(100, 8), np.arange(100))
chunk.finish({})
"""


def test_what_a_killed_job_left_of_a_chunk_is_gone_after_the_next(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "workflow")}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "chunk")], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    (place,) = tmp_path.iterdir()
    assert {path.name for path in place.iterdir()} == {"bins", "index", "shard-0000.safetensors", ".lock"}
    assert set(write(tmp_path / "chunk", 1)) == {"manifest.json", "shard-0000.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["chunk"]


def test_a_full_disk_is_told_of_with_the_folder(tmp_path):
    writer = ChunkWriter(tmp_path / "chunk-0000", 8, "float32", shuffled_order(0, 0, 1), np.array([100]), {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"chunk-0000: cannot be written \(.*File too large"):
            writer.add(torch.ones(100, 8), np.arange(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.discard()
