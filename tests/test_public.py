"""The public functions: importable after any other import, imported lazily, each with an example that runs."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "workflow"
NAMES = [
    "sae_stability.sae.load",
    "sae_stability.sae.save",
    "sae_stability.sae.train",
    "sae_stability.match.match_rows",
    "sae_stability.match.overlap",
    "sae_stability.activations.extract",
]
# Submodules and other modules whose import might replace a public function in its package.
FIRST = [
    "",
    "import sae_stability.match.overlap_tables, sae_stability.match.pair_overlap, sae_stability.match.pairs",
    "import sae_stability.sae.training.train, sae_stability.sae.training.in_memory, sae_stability.sae.model",
    "import sae_stability.activations.extraction, sae_stability.activations.in_memory",
]


def run(code: str) -> subprocess.CompletedProcess:
    code = f"import sys; sys.path.insert(0, {str(LIBRARY)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_the_docstring_runs(name, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    package, _, function = name.rpartition(".")
    public = getattr(import_module(package), function)
    examples = [test for test in doctest.DocTestFinder(recurse=False).find(public, name, globs={}) if test.examples]
    assert len(examples) == 1
    failures = []
    result = doctest.DocTestRunner().run(examples[0], out=failures.append)
    assert result.failed == 0, "".join(failures)


@pytest.mark.parametrize("first", FIRST)
def test_every_name_is_a_function_whatever_was_imported_before(first):
    lines = [first]
    for name in NAMES:
        package, _, function = name.rpartition(".")
        lines += [f"import {package}", f"from {package} import {function}"]
        lines += [f"assert callable({name}) and {name} is {function}", f"assert {function!r} in dir({package})"]
        lines += [f"assert {function!r} in {package}.__all__"]
    result = run("\n".join(lines))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", ["sae", "match", "activations"])
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module 'sae_stability.{package}' has no attribute 'nothing'"):
        import_module(f"sae_stability.{package}").nothing  # noqa: B018


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import sae_stability", ["numpy", "torch", "importlib.metadata"]),
        ("import sae_stability.sae, sae_stability.match, sae_stability.activations", ["numpy", "torch", "numba"]),
        ("from sae_stability.match import match_rows, overlap", ["torch"]),
        ("from sae_stability.sae import arrays", ["torch", "numba", "pandas"]),
    ],
)
def test_heavy_packages_are_imported_only_when_needed(code, heavy):
    result = run(f"{code}\nprint(sorted({heavy!r} & sys.modules.keys()))".replace(repr(heavy), repr(set(heavy))))
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
