"""Which definitions of this package a piece of code reaches: names followed from one definition to the next.

A definition is a top-level statement: a function, a class, a constant. It reaches what its names stand for, in its own
module or through imports, at the top of the module or inside the definition. Names are followed wherever they stand,
so more may be reached than ever runs. Only what is found by a computed name is left out: modules imported so must be
named by the caller.
"""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]


class Definition(NamedTuple):
    """A top-level statement of a module (its dotted name)."""

    module: str
    statement: ast.stmt

    @property
    def lines(self) -> range:
        """Its lines in the file, decorators included, from 1."""
        decorators = [decorator.lineno for decorator in getattr(self.statement, "decorator_list", [])]
        return range(min([self.statement.lineno, *decorators]), self.statement.end_lineno + 1)


class Module(NamedTuple):
    """What a module's top level says.

    Attributes:
        bindings: name -> the statements that give it its value.
        imports: local name -> dotted name in this package.
        foreign: local names of what is imported from other packages.
        effects: statements that do more on import than give a name its value.
    """

    bindings: dict[str, list[ast.stmt]]
    imports: dict[str, str]
    foreign: set[str]
    effects: list[ast.stmt]


def reached(roots: Iterable[str], loaded: Iterable[str] = ()) -> list[Definition]:
    """Every definition that some definitions reach, themselves included, in a fixed order.

    Args:
        roots: dotted names of definitions, such as "sae_stability.match.pairs.match_pairs".
        loaded: dotted names of modules that are imported by a name known only when the code runs; all that they define
            counts.

    Raises:
        KeyError: a root, or a name that some code takes from a module of this package, is not there.
    """
    found: dict[tuple[str, int], Definition] = {}
    todo = [definition for name in (*roots, *loaded) for definition in _named(name)]
    while todo:
        definition = todo.pop()
        place = (definition.module, definition.statement.lineno)
        if place not in found:
            found[place] = definition
            todo += _effects(definition.module)
            todo += [other for name in _references(definition) for other in _named(name)]
    return [found[place] for place in sorted(found)]


def _named(dotted: str) -> list[Definition]:
    """The definitions that a dotted name stands for; all of a module's where it is the name of a module."""
    module, rest = _split(dotted)
    parsed = _module(module)
    if not rest:
        return [Definition(module, statement) for statements in parsed.bindings.values() for statement in statements]
    name = rest[0]
    if name in parsed.bindings:
        return [Definition(module, statement) for statement in parsed.bindings[name]]
    if name in parsed.imports:
        return _named(".".join([parsed.imports[name], *rest[1:]]))
    if name in parsed.foreign:
        return []
    if "__getattr__" in parsed.bindings:
        return _named(f"{module}.__getattr__")
    raise KeyError(f"{module} has no {name}")


def _effects(module: str) -> list[Definition]:
    """What runs, beside definitions, when a module is imported: its own such statements, and those of its packages."""
    parts = module.split(".")
    modules = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [Definition(name, statement) for name in modules for statement in _module(name).effects]


def _references(definition: Definition) -> Iterator[str]:
    """Dotted names, in this package, of what a definition's names may stand for."""
    parsed = _module(definition.module)
    # Imports inside a function hold for its own names, before those of the module.
    inner = Module({}, {}, set(), [])
    for node in ast.walk(definition.statement):
        _note_import(node, definition.module, inner)
    own = {name: f"{definition.module}.{name}" for name in parsed.bindings}
    targets = own | parsed.imports | inner.imports
    todo: list[ast.AST] = [definition.statement]
    while todo:
        node = todo.pop()
        base, attributes = _chain(node)
        if base is None:
            todo += ast.iter_child_nodes(node)
        elif base in targets:
            yield ".".join([targets[base], *attributes])


def _chain(node: ast.AST) -> tuple[str | None, list[str]]:
    """`a.b.c` as "a" and ["b", "c"]; (None, []) for anything that is no such chain of names."""
    attributes = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    return (node.id, attributes) if isinstance(node, ast.Name) else (None, [])


def _split(dotted: str) -> tuple[str, list[str]]:
    """The longest part of a dotted name that is a module, and the names after it."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        if _file(".".join(parts[:end])):
            return ".".join(parts[:end]), parts[end:]
    raise KeyError(f"{dotted} is not in {PACKAGE.name}")


@functools.cache
def _file(module: str) -> Path | None:
    """A module's file; None where there is no such module."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@functools.cache
def _module(name: str) -> Module:
    found = Module({}, {}, set(), [])
    tree = ast.parse(_file(name).read_text(), filename=str(_file(name)))
    for statement in tree.body:
        _read(statement, statement, name, found)
    return found


def _read(node: ast.stmt, statement: ast.stmt, module: str, found: Module) -> None:
    """Sort a statement of the top level into `found`; `node` is the statement, or one inside an `if` or `try`."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        _note_import(node, module, found)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        found.bindings.setdefault(node.name, []).append(statement)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        plain = all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
        for name in names if plain else ():
            found.bindings.setdefault(name, []).append(statement)
        if not plain:
            found.effects.append(statement)  # os.environ["NAME"] = ...
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        if statement not in found.effects:
            found.effects.append(statement)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.ExceptHandler):
                _read(child, statement, module, found)


def _note_import(node: ast.AST, module: str, found: Module) -> None:
    """Note what an import statement binds: names of this package in `imports`, all others in `foreign`."""
    if isinstance(node, ast.Import):
        pairs = [(alias.asname or alias.name.partition(".")[0], alias.name) for alias in node.names]
        # `import a.b` binds a.
        pairs = [(local, name if local != name.partition(".")[0] else local) for local, name in pairs]
    elif isinstance(node, ast.ImportFrom):
        if node.level or any(alias.name == "*" for alias in node.names):
            raise ValueError(f"{module}, line {node.lineno}: an import that cannot be followed; name what you import")
        pairs = [(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names]
    else:
        return
    for local, name in pairs:
        if name.partition(".")[0] == PACKAGE.name:
            found.imports[local] = name
        else:
            found.foreign.add(local)
