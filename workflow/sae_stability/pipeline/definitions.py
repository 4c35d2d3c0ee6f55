"""Find the definitions of this package that a piece of code reaches, by following names from one to the next.

A definition is a top-level statement: a function, a class, a constant. It reaches whatever its names refer to, in its
own module or through imports, at the top of the module or inside the definition. Every name is followed, whether or not
its line ever runs, so more may be reached than is executed. Only names that are computed at run time cannot be
followed: the caller must list the modules that are imported by such a name.
"""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]


class Definition(NamedTuple):
    """A top-level statement, and the dotted name of its module."""

    module: str
    statement: ast.stmt

    @property
    def lines(self) -> range:
        """The numbers of its lines in the file, from 1, decorators included."""
        decorators = [decorator.lineno for decorator in getattr(self.statement, "decorator_list", [])]
        return range(min([self.statement.lineno, *decorators]), self.statement.end_lineno + 1)


class Module(NamedTuple):
    """The contents of a module's top level.

    Attributes:
        bindings: name -> the statements that give it its value.
        imports: name in the module -> dotted name in this package, for imports from this package.
        foreign: names that are imported from other packages.
        effects: statements that do more on import than bind a name.
    """

    bindings: dict[str, list[ast.stmt]]
    imports: dict[str, str]
    foreign: set[str]
    effects: list[ast.stmt]


def reached(roots: Iterable[str], loaded: Iterable[str] = ()) -> list[Definition]:
    """All definitions that the roots reach, including the roots, in a fixed order.

    Args:
        roots: dotted names of definitions, such as "sae_stability.match.pairs.match_pairs".
        loaded: dotted names of modules that are imported by a name known only when the code runs; all their
            definitions count as roots.

    Raises:
        KeyError: a root does not exist, or some code uses a name that a module of this package does not define.
    """
    reachable: dict[tuple[str, int], Definition] = {}
    todo = [definition for name in (*roots, *loaded) for definition in _named(name)]
    while todo:
        definition = todo.pop()
        place = (definition.module, definition.statement.lineno)
        if place not in reachable:
            reachable[place] = definition
            todo += _targets(definition)
    return [reachable[place] for place in sorted(reachable)]


@functools.cache
def _targets(definition: Definition) -> list[Definition]:
    """What a definition reaches by itself: what its names refer to, and what importing its module runs."""
    names = dict.fromkeys(_references(definition))
    return [*_effects(definition.module), *(target for name in names for target in _named(name))]


def _named(dotted: str) -> list[Definition]:
    """The definitions that a dotted name refers to: all those of a module if it names a module."""
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
    """The statements that run when a module is imported, besides definitions, in the module and in its packages."""
    parts = module.split(".")
    modules = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [Definition(name, statement) for name in modules for statement in _module(name).effects]


def _references(definition: Definition) -> Iterator[str]:
    """Dotted names, in this package, of everything that a definition's names may refer to."""
    parsed = _module(definition.module)
    # Imports inside the definition take precedence over the module's names.
    inner = Module({}, {}, set(), [])
    for node in ast.walk(definition.statement):
        _add_import(node, definition.module, inner)
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
    """`a.b.c` as "a" and ["b", "c"]; (None, []) for anything else."""
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
    parsed = Module({}, {}, set(), [])
    tree = ast.parse(_file(name).read_text(encoding="utf-8"), filename=str(_file(name)))
    for statement in tree.body:
        _add_statement(statement, statement, name, parsed)
    return parsed


def _add_statement(node: ast.stmt, statement: ast.stmt, module: str, parsed: Module) -> None:
    """Add a top-level `statement` to `parsed`; `node` is the statement itself or one inside an `if` or `try`."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        _add_import(node, module, parsed)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        parsed.bindings.setdefault(node.name, []).append(statement)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        plain = all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
        for name in names if plain else ():
            parsed.bindings.setdefault(name, []).append(statement)
        if not plain:
            parsed.effects.append(statement)  # os.environ["NAME"] = ...
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        if statement not in parsed.effects:
            parsed.effects.append(statement)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.ExceptHandler):
                _add_statement(child, statement, module, parsed)


def _add_import(node: ast.AST, module: str, parsed: Module) -> None:
    """Add the names that an import binds to `parsed`: those of this package to `imports`, others to `foreign`."""
    if isinstance(node, ast.Import):
        pairs = [(alias.asname or alias.name.partition(".")[0], alias.name) for alias in node.names]
        # `import a.b` binds a.
        pairs = [(local, name if local != name.partition(".")[0] else local) for local, name in pairs]
    elif isinstance(node, ast.ImportFrom):
        if node.level or any(alias.name == "*" for alias in node.names):
            raise ValueError(
                f"{module}, line {node.lineno}: an import with * or leading dots cannot be followed; write the "
                "module's full name and each name that is imported"
            )
        pairs = [(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names]
    else:
        return
    for local, name in pairs:
        if name.partition(".")[0] == PACKAGE.name:
            parsed.imports[local] = name
        else:
            parsed.foreign.add(local)
