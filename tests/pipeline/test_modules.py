"""The code hash can follow every module of this package, and refuses what it cannot follow."""

import ast

import pytest

from sae_stability.pipeline import modules
from sae_stability.pipeline.code_hash import MODULES, TABLES
from sae_stability.pipeline.definitions import Definition, read

# The library's modules. Only the rooms count in a hash: the command line and the pipeline run no stage's work.
NAMES = sorted(set(modules.files()) - {"sae_stability.__main__"})
# Decorators that record nothing in a table.
DECORATORS = {
    *("cache", "functools.cache", "cached_property", "functools.cached_property", "property", "classmethod"),
    *("staticmethod", "contextmanager", "contextlib.contextmanager", "dataclass", "dataclasses.dataclass"),
    *("cached_njit", "intrinsic", "triton.jit", "torch.inference_mode", "functools.lru_cache"),
}


def statements(name: str) -> list[ast.stmt]:
    return [statement for found in modules.module(name).bindings.values() for statement in found]


@pytest.mark.parametrize(
    "effect", ["os.environ['A'] = '1'", "print('imported')", "for a in (1, 2): pass", "os.sep += '/'", "del os"]
)
@pytest.mark.parametrize("branch", ["{}", "if os:\n    {}", "try:\n    {}\nexcept OSError: pass"])
def test_a_module_that_does_more_than_bind_names_is_an_error(package, effect: str, branch: str):
    text = f"import os\n{branch.format(effect)}\ndef start(): return 1\n"
    with pytest.raises(ValueError, match=r"planted.a, line [23]: this statement does more on import than bind a name"):
        package.reached({"a.py": text}, "a.start")


@pytest.mark.parametrize("line", ["from planted.b import *", "from . import b", "from .b import f"])
def test_an_import_that_cannot_be_followed_is_an_error(package, line: str):
    with pytest.raises(ValueError, match=r"planted.a, line 1: an import with .* cannot be followed"):
        package.reached({"a.py": f"{line}\ndef start(): return 1\n", "b.py": "def f(): pass\n"}, "a.start")


@pytest.mark.parametrize("name", NAMES)
def test_every_module_can_be_followed(name: str):
    for statement in statements(name):
        read(Definition(name, statement))


def test_no_decorator_and_no_class_records_anything_in_a_table():
    for name in NAMES:
        for node in (node for statement in statements(name) for node in ast.walk(statement)):
            for decorator in getattr(node, "decorator_list", []):
                written = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
                assert written in DECORATORS, (
                    f"{name}: @{written}; add it to DECORATORS if it records nothing in a table"
                )
            if isinstance(node, ast.ClassDef):
                plain = (ast.FunctionDef, ast.AnnAssign, ast.Assign, ast.Expr, ast.Pass)
                assert all(isinstance(part, plain) for part in node.body), f"{name}: {node.name}"
                assert not any(getattr(part, "name", "") == "__init_subclass__" for part in node.body), f"{name}"


def test_no_module_is_used_as_a_value():
    """A module's own imports would escape from such a value."""
    used = {
        (name, target)
        for name in NAMES
        if not name.startswith("sae_stability.pipeline")
        for statement in statements(name)
        for target in read(Definition(name, statement)).targets
        if target in NAMES
    }
    # `Assignment.solver` is a field with the name of that module.
    assert used == {("sae_stability.match.assignment", "sae_stability.match.solver")}


def test_tables_are_dictionaries_of_words():
    for table in (*TABLES, *MODULES):
        module, _, name = table.rpartition(".")
        (statement,) = modules.module(module).bindings[name]
        assert all(isinstance(key.value, str) for key in statement.value.keys), table
        if table in MODULES:
            assert {value.value for value in statement.value.values} <= set(NAMES), table
