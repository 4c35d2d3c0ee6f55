"""Cached machine code is used again until a file behind the kernel changes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workflow" / "sae_stability"
# `dot` and `FAST` lie in cpu_topk.py; the kernel that calls `dot` lies in cpu_entries.py.
RUN = """
import numpy as np
from sae_stability.sae.training.kernels.cpu_entries import row_dots

one = np.array([0])
rows, out = np.full((1, 4), 2, np.float32), np.zeros(1, np.float32)
row_dots(0, 1, one, one + 1, one, rows, one, rows, out)
(loaded,) = row_dots.stats.cache_hits.values() or (0,)
print(out[0], loaded)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "library" / "sae_stability", ignore=ignore)
    return tmp_path / "library"


def edit(copy: Path, module: str, old: str, new: str) -> None:
    path = copy / "sae_stability" / module
    text = path.read_text()
    assert old in text, f"{module} does not hold {old!r}"
    path.write_text(text.replace(old, new))


def run(copy: Path, **environment: str) -> tuple[float, bool]:
    """The kernel's result, and whether its machine code came from the cache."""
    result = subprocess.run(
        [sys.executable, "-P", "-c", RUN],
        env={**os.environ, "PYTHONPATH": str(copy), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    value, loaded = result.stdout.split()
    return float(value), bool(int(loaded))


def test_an_edit_of_a_called_kernel_in_another_file_is_compiled(copy: Path, tmp_path: Path):
    elsewhere = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(copy) == (16, False)
    assert run(copy) == (16, True)
    assert run(copy, **elsewhere) == (16, False)
    files = sorted(path.name for path in copy.rglob("*.nb[ic]"))

    edit(copy, "match/solver.py", "0.05 / 5**k", "0.06 / 5**k")
    assert run(copy) == (16, True), "a file that the kernel does not use"

    edit(
        copy,
        "sae/training/kernels/cpu_topk.py",
        "def dot(",
        "def dot(a, b, start):\n    return start + 3\n\n\ndef old(",
    )
    assert run(copy) == (3, False)
    assert run(copy, **elsewhere) == (3, False)
    assert run(copy) == (3, True)
    assert sorted(path.name for path in copy.rglob("*.nb[ic]")) == files, "old machine code stays on the disk"


def test_no_other_file_takes_a_compiler_from_numba():
    compilers = re.compile(r"^from numba import .*jit|^import numba|numba\.njit", re.MULTILINE)
    found = [path.name for path in PACKAGE.rglob("*.py") if compilers.search(path.read_text())]
    assert found == ["compiled.py"]
