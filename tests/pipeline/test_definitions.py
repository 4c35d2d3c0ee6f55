"""Names are followed through every kind of import and binding."""

import textwrap
from pathlib import Path

import pytest

from sae_stability.pipeline import definitions


@pytest.fixture
def package(tmp_path: Path, monkeypatch):
    """Writes modules of a package `planted` and returns the names that some roots reach in it."""
    root = tmp_path / "planted"
    monkeypatch.setattr(definitions, "PACKAGE", root)
    for cached in (definitions._file, definitions._module, definitions._targets):
        cached.cache_clear()

    def reach(modules: dict[str, str], *roots: str, loaded: tuple[str, ...] = ()) -> set[str]:
        for name, text in {"__init__.py": "", **modules}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        names = set()
        for found in definitions.reached([f"planted.{name}" for name in roots], [f"planted.{n}" for n in loaded]):
            text = (root.parent / Path(*found.module.split("."))).with_suffix(".py")
            text = text if text.exists() else text.with_suffix("") / "__init__.py"
            first = text.read_text().splitlines()[found.lines.start - 1 : found.lines.stop - 1]
            names.add(f"{found.module.removeprefix('planted').lstrip('.')}: {' '.join(' '.join(first).split())[:40]}")
        return names

    yield reach
    for cached in (definitions._file, definitions._module, definitions._targets):
        cached.cache_clear()


def test_functions_classes_constants_and_decorators_of_a_module(package):
    found = package(
        {
            "a.py": """
            ONE = 1
            TWO = ONE + 1
            UNUSED = 3

            def decorate(f): return f

            class Base: pass

            @decorate
            class Thing(Base):
                size = TWO

            def start(): return Thing()
            def other(): return UNUSED
            """
        },
        "a.start",
    )
    assert found == {
        "a: ONE = 1",
        "a: TWO = ONE + 1",
        "a: def decorate(f): return f",
        "a: class Base: pass",
        "a: @decorate class Thing(Base): size = TWO",
        "a: def start(): return Thing()",
    }


@pytest.mark.parametrize(
    ("imports", "use"),
    [
        ("from planted.b import f", "f()"),
        ("from planted.b import f as g", "g()"),
        ("from planted import b", "b.f()"),
        ("from planted import b as c", "c.f()"),
        ("import planted.b", "planted.b.f()"),
        ("import planted.b as c", "c.f()"),
        ("from planted.again import f", "f()"),
        ("from planted.again import b", "b.f()"),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_every_way_to_import(package, imports: str, use: str, inside: bool):
    body = f"def start():\n    {imports}\n    return {use}\n" if inside else f"{imports}\ndef start(): return {use}\n"
    modules = {"a.py": body, "b.py": "def f(): return 1\ndef g(): return 2\n"}
    modules["again.py"] = "from planted.b import f\nfrom planted import b\n"
    found = {name for name in package(modules, "a.start") if name.startswith("b:")}
    assert found == {"b: def f(): return 1"}


def test_a_module_handed_on_as_a_value_counts_whole(package):
    modules = {"a.py": "from planted import b\ndef start(): return use(b)\ndef use(m): return m.f()\n"}
    found = package({**modules, "b.py": "def f(): return 1\nX = 2\n"}, "a.start")
    assert {"b: def f(): return 1", "b: X = 2"} <= found


def test_a_module_loaded_by_name_counts_where_it_is_named(package):
    modules = {
        "a.py": "from importlib import import_module\ndef start(): return import_module('planted.b')\n",
        "b.py": "X = 1",
    }
    assert "b: X = 1" not in package(modules, "a.start")
    assert "b: X = 1" in package(modules, "a.start", loaded=("b",))


def test_what_a_module_does_on_import_counts_and_so_do_its_packages(package):
    modules = {
        "p/__init__.py": "import os\nos.environ['A'] = '1'\n",
        "p/a.py": "def start(): return 1\nprint('imported')\n",
        "p/b.py": "print('not imported')\n",
    }
    assert package(modules, "p.a.start") == {
        "p: os.environ['A'] = '1'",
        "p.a: def start(): return 1",
        "p.a: print('imported')",
    }


def test_a_name_bound_in_a_branch_counts_with_the_branch(package):
    modules = {"a.py": "try:\n    import fast\n    def f(): return 1\nexcept ImportError:\n    def f(): return 2\n"}
    (found,) = package(modules, "a.f")
    assert found.startswith("a: try: import fast")


def test_what_is_not_there_and_what_cannot_be_followed_are_errors(package):
    with pytest.raises(KeyError, match="gone"):
        package({"a.py": "from planted.b import gone\ndef start(): return gone()\n", "b.py": ""}, "a.start")
    for cached in (definitions._module, definitions._targets):
        cached.cache_clear()
    with pytest.raises(ValueError, match="cannot be followed"):
        package({"a.py": "from planted.b import *\ndef start(): return 1\n"}, "a.start")
