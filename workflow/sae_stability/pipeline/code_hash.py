"""A hash of the code that a verb runs: a change of that code reruns the stage; comments and other code do not count.

Snakemake does not see edits in imported modules. Cheap stages therefore carry this hash in `params`, and expensive ones
in the fingerprint that their result records.
"""

import ast
import functools
import hashlib

from sae_stability.pipeline.definitions import Definition, reached
from sae_stability.verbs import VERBS


def code_hash(verb: str, *loaded: str) -> str:
    """Hash of every definition that a verb's function reaches (`pipeline.definitions`).

    Comments, docstrings, line numbers and formatting do not count, nor does the command line itself (cli.py, flags.py,
    verbs.py), which hands over arguments and decides nothing.

    Args:
        verb: a name in `verbs.VERBS`.
        loaded: dotted names of modules that the verb loads by a name known only when it runs, such as an architecture's
            training step.

    Returns:
        16 hexadecimal digits.

    Raises:
        KeyError: there is no such verb or module.
    """
    return _hash(verb, loaded)


@functools.cache
def _hash(verb: str, loaded: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for definition in definitions(verb, *loaded):
        digest.update(f"{definition.module} {_digest(definition.module, definition.statement)}\n".encode())
    return digest.hexdigest()[:16]


def definitions(verb: str, *loaded: str) -> list[Definition]:
    """The definitions that `code_hash` covers."""
    return reached([f"{VERBS[verb].module}.{VERBS[verb].name}"], loaded)


@functools.cache
def _digest(module: str, statement: ast.stmt) -> str:
    """Hash of a statement's syntax tree without docstrings."""
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [inner for inner in node.body if not _is_text(inner)] or [ast.Pass()]
    text = ast.dump(statement, annotate_fields=False, include_attributes=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, of a definition or below a field."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
