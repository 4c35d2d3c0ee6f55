"""Find the definitions of this package that a piece of code reaches, by following names from one to the next.

A definition is a top-level statement: a function, a class, a constant. It reaches whatever its names may refer to, in
its own module or through imports, at the top of the module or inside the definition. Where a name may mean several
things, all are followed. Code that never runs counts too, so more may be reached than is executed.

Code that is looked up by a name known only at run time cannot be followed: the caller must list it. Other ways to hide
code are refused. Work done while a module is imported is an error. Tests of the package refuse decorators and base
classes that record functions in a table, and modules used as values.
"""

import ast
import functools
import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sae_stability.pipeline import modules
from sae_stability.pipeline.modules import add_import, module, split


class Definition(NamedTuple):
    """A top-level statement, or the value of a table's entry, and the dotted name of its module."""

    module: str
    node: ast.stmt | ast.expr

    @property
    def place(self) -> tuple[str, int, int]:
        """Module, line and column, which no other definition has."""
        return self.module, self.node.lineno, self.node.col_offset

    @property
    def lines(self) -> range:
        """The numbers of its lines in the file, from 1, decorators included."""
        decorators = [decorator.lineno for decorator in getattr(self.node, "decorator_list", [])]
        return range(min([self.node.lineno, *decorators]), self.node.end_lineno + 1)


class Reading(NamedTuple):
    """What a definition says.

    Attributes:
        digest: hash of its syntax tree without docstrings, and of what its names refer to.
        targets: what its names refer to: dotted names of definitions and modules, and of other packages' objects.
    """

    digest: str
    targets: tuple[str, ...]


def reached(roots: Iterable[str], loaded: Iterable[str] = (), left_out: Collection[str] = ()) -> list[Definition]:
    """All definitions that the roots reach, including the roots, in a fixed order.

    Args:
        roots: dotted names of definitions, such as "sae_stability.match.pairs.match_pairs".
        loaded: what is looked up by a name known only when the code runs. "package.module" stands for all definitions
            of a module, "package.module.TABLE[key]" for the value of a dictionary's entry.
        left_out: dotted names of definitions that do not count and are not followed.

    Raises:
        KeyError: a root does not exist, or some code uses a name that a module of this package does not define.
        ValueError: a statement cannot be followed.
    """
    found: dict[tuple[str, int, int], Definition] = {}
    seen = set(left_out)
    todo = [target for name in roots for target in _resolve(name)] + list(loaded)
    while todo:
        target = todo.pop()
        if target in seen:
            continue
        seen.add(target)
        todo += _parts(target)
        for definition in _definitions(target):
            if definition.place not in found:
                found[definition.place] = definition
                todo += read(definition).targets
    return [found[place] for place in sorted(found)]


@functools.cache
def read(definition: Definition) -> Reading:
    """The digest and the targets of a definition, from one walk over its syntax tree."""
    words: list[str] = []  # the tree in a form that tells any two trees apart
    names: set[tuple[str, ...]] = set()  # `a.b.c` as ("a", "b", "c")
    inner: dict[str, list[str]] = {}  # imports inside the definition
    todo: list = [definition.node]
    while todo:
        node = todo.pop()
        kind = type(node)
        if kind is list:
            node = [part for part in node if not _is_text(part)]
            words.append(f"[{len(node)}")
            todo += node
        elif kind is ast.Constant:
            words.append(repr(node.value))
        elif kind is ast.Name:
            words.append(f"={node.id}")
            names.add((node.id,))
        elif kind is ast.Attribute:
            base, attributes = _chain(node)
            words.append(f".{'.'.join(attributes)}")
            if type(base) is ast.Name:
                words.append(f"={base.id}")
                names.add((base.id, *attributes))
            else:
                todo.append(base)
        elif isinstance(node, ast.AST):
            if kind is ast.Import or kind is ast.ImportFrom:
                add_import(node, definition.module, inner)
            word = kind.__name__
            for field in kind._fields:
                value = getattr(node, field, None)
                if value is not None and value != [] and field != "ctx":
                    word += f" {field}"
                    todo.append(value)
            words.append(word)
        else:
            words.append(str(node))
    meanings = {name: _meanings(name, definition.module, inner) for name in sorted(names)}
    words += [f"{'.'.join(name)}: {' '.join(targets)}" for name, targets in meanings.items() if targets]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return Reading(digest, tuple(target for targets in meanings.values() for target in targets))


def _is_text(node: object) -> bool:
    """Whether a node is a docstring, of a definition or below a field."""
    return type(node) is ast.Expr and type(node.value) is ast.Constant


def _chain(node: ast.expr) -> tuple[ast.expr, list[str]]:
    """`a.b.c` as the node of `a`, and ["b", "c"]."""
    attributes = []
    while type(node) is ast.Attribute:
        attributes.insert(0, node.attr)
        node = node.value
    return node, attributes


def _meanings(name: tuple[str, ...], where: str, inner: dict[str, list[str]]) -> tuple[str, ...]:
    """What a name in module `where` may refer to, there or through the imports `inner`; nothing for a local one."""
    known = module(where)
    dotted = [*inner.get(name[0], ())]
    if name[0] in known.bindings or name[0] in known.imports:
        dotted.append(f"{where}.{name[0]}")
    return tuple(sorted({target for start in dotted for target in _resolve(".".join([start, *name[1:]]))}))


@functools.cache
def _resolve(dotted: str) -> tuple[str, ...]:
    """What a dotted name refers to once imports are followed. Names in other packages stand for themselves."""
    if not _is_own(dotted):
        return (dotted,)
    where, rest = split(dotted)
    if not rest:
        return (where,)
    known = module(where)
    found = [f"{where}.{rest[0]}"] if rest[0] in known.bindings else []
    for origin in known.imports.get(rest[0], ()):
        found += _resolve(".".join([origin, *rest[1:]]))
    if not found and "__getattr__" in known.bindings:
        found = [f"{where}.__getattr__"]
    if not found:
        raise KeyError(f"{where} has no {rest[0]}")
    return tuple(found)


@functools.cache
def _parts(target: str) -> tuple[str, ...]:
    """What a module used as a whole gives to its users: its definitions, and those that it imports; else nothing."""
    if not _is_own(target) or target.endswith("]") or split(target)[1]:
        return ()
    known = module(target)
    imported = {found for origins in known.imports.values() for origin in origins for found in _resolve(origin)}
    definitions = [found for found in imported if _is_own(found) and split(found)[1]]
    return tuple(f"{target}.{name}" for name in known.bindings) + tuple(definitions)


def _definitions(target: str) -> list[Definition]:
    """The statements of a definition, or the value of an entry; none for modules and for other packages."""
    if target.endswith("]"):
        return [_entry(target)]
    if not _is_own(target):
        return []
    where, rest = split(target)
    return [Definition(where, statement) for statement in module(where).bindings[rest[0]]] if rest else []


def _entry(name: str) -> Definition:
    """The value of an entry of a dictionary, named as "package.module.TABLE[key]"."""
    table, _, key = name.removesuffix("]").partition("[")
    for definition in _definitions(table):
        value = getattr(definition.node, "value", None)
        for at, entry in zip(value.keys, value.values, strict=True) if isinstance(value, ast.Dict) else ():
            if isinstance(at, ast.Constant) and at.value == key:
                return Definition(definition.module, entry)
    raise KeyError(f"{table} is no dictionary with the key {key!r}")


def _is_own(dotted: str) -> bool:
    return dotted.partition(".")[0] == modules.PACKAGE.name
