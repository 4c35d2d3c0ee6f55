"""What is declared is what is imported, and the pins are of it."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sae_stability.errors import StudyError, naming_missing_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
# Package -> distribution, where they differ.
DISTRIBUTIONS = {"yaml": "pyyaml"}
# Package -> the declared distribution that brings it along.
BROUGHT = {"llvmlite": "numba", "triton": "torch"}


def imported() -> dict[str, set[str]]:
    """Package that is not of Python itself -> the library's files that import it."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "workflow" / "sae_stability").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module)
            for package in {name.partition(".")[0] for name in names} - {"sae_stability"} - sys.stdlib_module_names:
                found.setdefault(package, set()).add(str(file.relative_to(ROOT)))
    return found


def names(requirements: list[Requirement]) -> set[str]:
    return {requirement.name for requirement in requirements}


def test_every_package_that_the_library_imports_is_declared():
    declared = names(BASE) | names(EXTRAS["train"]) | names(EXTRAS["workflow"]) | names(EXTRAS["language-model"])
    packages = imported()
    undeclared = {
        package: files
        for package, files in packages.items()
        if BROUGHT.get(package, DISTRIBUTIONS.get(package, package)) not in declared
    }
    assert undeclared == {}
    assert "numpy" in packages


def test_every_package_that_the_base_installs_is_imported():
    assert names(BASE) - {DISTRIBUTIONS.get(package, package) for package in imported()} == set()


def test_all_is_every_extra_that_people_use():
    (everything,) = EXTRAS["all"]
    assert everything.name == PROJECT["name"]
    assert everything.extras == EXTRAS.keys() - {"all", "embedded", "language-model", "slurm", "test"}


def test_the_pins_are_of_versions_that_are_allowed():
    lines = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    pins = {pin.name.lower(): pin for pin in map(Requirement, (line for line in lines if not line.startswith("#")))}
    for requirement in [*BASE, *(one for some in EXTRAS.values() for one in some)]:
        if requirement.name != PROJECT["name"]:
            (version,) = pins[requirement.name].specifier
            assert requirement.specifier.contains(version.version), str(requirement)


@pytest.mark.parametrize("extra", ["train", "workflow"])
def test_a_missing_package_names_the_extra_that_installs_it(extra):
    for name in names(EXTRAS[extra]):
        message = rf"^{name} is needed here but not installed.*pip install 'sae-stability\[{extra}\]'$"
        with pytest.raises(StudyError, match=message), naming_missing_extra():
            raise ModuleNotFoundError(name=f"{name}.inside")


def test_a_package_that_no_extra_installs_is_no_mistake_of_a_person():
    with pytest.raises(ModuleNotFoundError), naming_missing_extra():
        raise ModuleNotFoundError(name="sae_stability.nothing")
