"""A hash changes with the definitions that a verb reaches, and with nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sae_stability.pipeline.code_hash import code_hash
from sae_stability.verbs import VERBS

PACKAGE = Path(__file__).parents[2] / "workflow" / "sae_stability"
TOPK, JUMPRELU = (f"sae_stability.sae.training.steps.{name}" for name in ("topk", "jumprelu"))
OWN = "sae_stability.sae.formats.own"


def hashes(root: Path, *calls: tuple[str, ...]) -> list[str]:
    """`code_hash` of each call, of the package in `root`."""
    code = (
        "from sae_stability.pipeline.code_hash import code_hash\n"
        f"print(*(code_hash(*call) for call in {[(c,) if isinstance(c, str) else c for c in calls]!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, cwd=root, check=True, capture_output=True, text=True
    )
    return result.stdout.split()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "sae_stability", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(copy: Path, module: str, old: str, new: str) -> None:
    path = copy / "sae_stability" / module
    text = path.read_text()
    assert old in text, f"{module} no longer holds {old!r}"
    path.write_text(text.replace(old, new))


def test_comments_docstrings_and_touching_change_nothing(copy: Path):
    before = hashes(copy, *VERBS)
    for path in copy.rglob("*.py"):
        path.write_text("# a comment that was not there\n\n" + path.read_text() + "\n\n# and another\n")
    edit(copy, "errors.py", "What is wrong", "Whatever is wrong")
    edit(copy, "sae/training/settings.py", '"""Activations per step."""', '"""How many activations a step takes."""')
    assert hashes(copy, *VERBS) == before


@pytest.mark.parametrize("module", ["files.py", "errors.py", "random_streams.py"])
def test_a_function_that_nobody_uses_changes_nothing(copy: Path, module: str):
    before = hashes(copy, *VERBS)
    path = copy / "sae_stability" / module
    path.write_text(path.read_text() + "\n\ndef unused(x):\n    return x + UNUSED\n\n\nUNUSED = 1\n")
    assert hashes(copy, *VERBS) == before


CHANGES = {
    "files.py": ("os.fsync(file.fileno())", "pass", {"train", "match", "evaluate", "extract"}, {"validate", "fetch"}),
    "random_streams.py": (">> 1", ">> 2", {"train", "extract", "floor", "overlap"}, {"match", "figure-table"}),
    "match/solver.py": ("def solve(", "def solve(*, unused=0, ", {"match", "floor"}, {"train", "overlap", "evaluate"}),
    "figures/drawings/style.py": ("def save(", "def save(*_, ", {"figure"}, {"figure-table", "summary"}),
}


@pytest.mark.parametrize("module", CHANGES)
def test_a_function_that_a_verb_runs_changes_that_verbs_hash(copy: Path, module: str):
    old, new, changed, same = CHANGES[module]
    before = dict(zip(VERBS, hashes(copy, *VERBS), strict=True))
    edit(copy, module, old, new)
    after = dict(zip(VERBS, hashes(copy, *VERBS), strict=True))
    assert {verb for verb in changed if after[verb] == before[verb]} == set()
    assert {verb for verb in same if after[verb] != before[verb]} == set()


def test_a_constant_of_training_counts_for_training_alone(copy: Path):
    calls = ("train", TOPK), ("match", OWN), ("convert", OWN), ("evaluate", OWN)
    before = hashes(copy, *calls)
    edit(copy, "sae/training/kernels/adam.py", "0.9,", "0.95,")
    after = hashes(copy, *calls)
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True, True, True]


def test_an_architectures_step_counts_for_that_architecture_alone(copy: Path):
    calls = ("train", TOPK), ("train", JUMPRELU)
    before = hashes(copy, *calls)
    path = copy / "sae_stability" / "sae" / "training" / "steps" / "jumprelu.py"
    path.write_text(path.read_text() + "\nADDED = 1\n")
    after = hashes(copy, *calls)
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False]


def test_an_unknown_verb_and_an_unknown_module_are_errors():
    with pytest.raises(KeyError):
        code_hash("no-such-verb")
    with pytest.raises(KeyError):
        code_hash("train", "sae_stability.no.such.module")
