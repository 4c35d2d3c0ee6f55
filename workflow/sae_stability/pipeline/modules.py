"""What the names at the top of this package's modules mean, read from the source without importing it."""

import ast
import functools
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]


class Module(NamedTuple):
    """The names of a module's top level.

    Attributes:
        bindings: name -> the top-level statements that give it its value.
        imports: name -> the dotted names that it may be imported from, in this package or another.
    """

    bindings: dict[str, list[ast.stmt]]
    imports: dict[str, list[str]]


@functools.cache
def module(name: str) -> Module:
    """Read a module of this package.

    Raises:
        ValueError: importing the module does more than bind names, or it imports with * or leading dots.
    """
    found = Module({}, {})
    for statement in ast.parse(files()[name].read_bytes()).body:
        _add(statement, statement, name, found)
    return found


@functools.cache
def split(dotted: str) -> tuple[str, tuple[str, ...]]:
    """The longest part of a dotted name that is a module, and the names after it.

    Raises:
        KeyError: the name is not in this package.
    """
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in files():
            return name, tuple(parts[end:])
    raise KeyError(f"{dotted} is not in {PACKAGE.name}")


def add_import(node: ast.Import | ast.ImportFrom, importer: str, imports: dict[str, list[str]]) -> None:
    """Add the names that an import binds, and the dotted names that they stand for, to `imports`.

    Raises:
        ValueError: the import has * or leading dots.
    """
    for alias in node.names:
        if isinstance(node, ast.Import):
            first = alias.name.partition(".")[0]
            name, dotted = (alias.asname, alias.name) if alias.asname else (first, first)  # `import a.b` binds a
        elif node.level or alias.name == "*":
            raise ValueError(
                f"{importer}, line {node.lineno}: an import with * or leading dots cannot be followed; write the "
                "module's full name and each name that is imported"
            )
        else:
            name, dotted = alias.asname or alias.name, f"{node.module}.{alias.name}"
        imports.setdefault(name, []).append(dotted)


@functools.cache
def files() -> dict[str, Path]:
    """The file of every module of this package, by the module's dotted name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def _add(node: ast.AST, statement: ast.stmt, importer: str, found: Module) -> None:
    """Add the names that `node` binds to `found`. It is the top-level `statement`, or inside its `if` or `try`."""
    match node:
        case ast.Import() | ast.ImportFrom():
            add_import(node, importer, found.imports)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            found.bindings.setdefault(name, []).append(statement)
        case ast.Assign(targets=targets) if all(map(_is_plain, targets)):
            _bind(targets, statement, found)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target) if _is_plain(target):
            _bind([target], statement, found)
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            pass
        case ast.If() | ast.Try() | ast.ExceptHandler():
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt | ast.ExceptHandler):
                    _add(child, statement, importer, found)
        case _:
            raise ValueError(
                f"{importer}, line {node.lineno}: this statement does more on import than bind a name, which cannot be "
                "followed; move it into a function"
            )


def _is_plain(target: ast.expr) -> bool:
    """Whether an assignment binds names alone, and changes no object."""
    return isinstance(target, ast.Name) or (isinstance(target, ast.Tuple) and all(map(_is_plain, target.elts)))


def _bind(targets: list[ast.expr], statement: ast.stmt, found: Module) -> None:
    names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    for name in names:
        found.bindings.setdefault(name, []).append(statement)
