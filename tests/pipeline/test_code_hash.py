"""A hash changes with the definitions that a verb reaches, and with nothing else."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline.code_hash import CHECKS, code_hash
from sae_stability.verbs import VERBS

PACKAGE = Path(__file__).parents[2] / "workflow" / "sae_stability"
TOPK, JUMPRELU = (f"sae_stability.sae.training.steps.{name}" for name in ("topk", "jumprelu"))
OWN = "sae_stability.sae.formats.own"
ARCHITECTURES = "sae_stability.sae.architectures.REGISTRY"


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
    "files.py": ("os.fsync(file.fileno())", "pass", {"train", "match", "evaluate", "fetch"}, {"validate"}),
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


def named(name: str) -> list[tuple[str, ...]]:
    """What counts for SAEs of an architecture."""
    return [
        ("train", f"sae_stability.sae.training.steps.{name}", f"{ARCHITECTURES}[{name}]"),
        ("evaluate", OWN, f"{OWN}.TRAINED[{name}]"),
    ]


def test_a_new_entry_of_a_table_changes_nothing(copy: Path):
    unhashed = ("plan", "calibrate", "validate", "archive", "rebuild", "trace")
    calls = [(verb,) for verb in VERBS if verb not in unhashed]
    calls += [*named("topk"), *named("gated"), ("convert", OWN, "sae_stability.sae.formats.saelens")]
    calls += [("figure-table", FIGURES["joint"].table), ("figure", FIGURES["joint"].drawing)]
    before = hashes(copy, *calls)
    edit(copy, "sae/architectures.py", '    "topk": E', '    "toy": Entry("steps.toy", ("toys",)),\n    "topk": E')
    edit(copy, "sae/architectures.py", "OPTIONAL = (", 'OPTIONAL = ("toys", ')
    edit(copy, "sae/training/limits.py", '    "k": {', '    "toys": {"minimum": 1},\n    "k": {')
    edit(copy, "sae/formats/own.py", '    "topk": T', '    "toy": Trained("toy", {}),\n    "topk": T')
    edit(copy, "sae/format_names.py", '    "sparsify": "', '    "toy": "sae_stability.toy",\n    "sparsify": "')
    edit(copy, "figures/registry.py", 'FigureKind("seeds"),', 'FigureKind("seeds"),\n        FigureKind("toy"),')
    assert hashes(copy, *calls) == before


def test_an_entry_of_a_table_counts_where_it_is_used(copy: Path):
    calls = [*named("topk"), *named("gated")]
    before = hashes(copy, *calls)
    edit(copy, "sae/formats/own.py", '"topk": Trained("topk"', '"topk": Trained("relu"')
    edit(copy, "sae/architectures.py", "training.steps.gated", "training.steps.relu")
    changed = [a != b for a, b in zip(hashes(copy, *calls), before, strict=True)]
    assert changed == [False, True, True, False]


def test_checks_do_nothing_but_refuse():
    """Jobs call what the hash leaves out as a statement, or in an `if` that raises: no result can come from it."""
    names = {check.rpartition(".")[2] for check in CHECKS}
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        refusals = [node.value for node in nodes if isinstance(node, ast.Expr)]
        refusals += [node.test for node in nodes if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise)]
        used, refusing = (
            [part for node in found for part in ast.walk(node) if isinstance(part, ast.Name) and part.id in names]
            for found in (nodes[:1], refusals)
        )
        if "study" not in path.parts:
            assert len(used) == len(refusing), path


def test_an_unknown_verb_and_an_unknown_module_are_errors():
    with pytest.raises(KeyError):
        code_hash("no-such-verb")
    with pytest.raises(KeyError):
        code_hash("train", "sae_stability.no.such.module")
