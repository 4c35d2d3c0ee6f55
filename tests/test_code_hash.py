"""A comment, a docstring or a touch changes no hash; a change to code that a verb reaches changes that verb's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workflow" / "sae_stability"


def hashes(root: Path, *verbs: str) -> list[str]:
    code = f"from sae_stability.pipeline.code_hash import code_hash; print(*map(code_hash, {verbs!r}))"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, cwd=root, check=True, capture_output=True, text=True
    )
    return result.stdout.split()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "sae_stability", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_comments_docstrings_and_touching_change_nothing(copy: Path):
    before = hashes(copy, "train", "match", "extract")
    for path in copy.rglob("*.py"):
        path.write_text("# a comment that was not there\n\n" + path.read_text() + "\n\n# and another\n")
    errors = copy / "sae_stability" / "errors.py"
    errors.write_text(errors.read_text().replace("What is wrong", "Whatever is wrong"))
    assert hashes(copy, "train", "match", "extract") == before


def test_an_edit_of_matching_does_not_touch_training(copy: Path):
    before = hashes(copy, "match", "train", "extract")
    changed = copy / "sae_stability" / "match" / "pairs.py"
    changed.write_text(changed.read_text() + "\nADDED = 1\n")
    match, train, extract = hashes(copy, "match", "train", "extract")
    assert match != before[0]
    assert [train, extract] == before[1:]


def test_a_module_imported_inside_a_function_counts(copy: Path):
    before = hashes(copy, "train", "match")
    changed = copy / "sae_stability" / "seeds.py"
    changed.write_text(changed.read_text().replace(">> 1", ">> 2"))
    assert hashes(copy, "train", "match")[0] != before[0]


def test_every_architecture_counts_for_training_and_evaluation(copy: Path):
    modules = sorted((copy / "sae_stability" / "sae" / "architectures").glob("[!_]*.py"))
    assert len(modules) >= 6
    for module in modules:
        before = hashes(copy, "train", "evaluate", "tokenize")
        module.write_text(module.read_text() + "\nADDED = 1\n")
        after = hashes(copy, "train", "evaluate", "tokenize")
        assert [a == b for a, b in zip(after, before, strict=True)] == [False, False, True]


def test_a_package_init_on_the_way_counts(copy: Path):
    before = hashes(copy, "match")
    init = copy / "sae_stability" / "match" / "__init__.py"
    init.write_text(init.read_text() + "\nADDED = 1\n")
    assert hashes(copy, "match") != before


def test_an_unknown_verb_is_an_error():
    from sae_stability.pipeline.code_hash import code_hash

    with pytest.raises(KeyError):
        code_hash("no-such-verb")
