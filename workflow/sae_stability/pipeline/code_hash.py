"""A fingerprint of the code that a verb reaches, so that a real change reruns a stage and a comment does not.

Snakemake does not see edits in imported modules. Each rule therefore carries `params: code=code_hash("train")`.
"""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
VERBS = PACKAGE / "cli.py"


@functools.cache
def code_hash(verb: str, *modules: str) -> str:
    """Hash of the verb's own function in cli.py and of every module of this package that it reaches.

    Comments, docstrings, line numbers and formatting do not count: the hash is over the syntax tree.
    Imports inside functions count like those at the top.

    Args:
        verb: the name of a function in cli.py, with "-" or "_".
        modules: dotted names of modules that the verb loads by a name known only when it runs.

    Returns:
        16 hexadecimal digits.

    Raises:
        KeyError: cli.py has no such function.
    """
    function = _functions(VERBS)[verb.replace("-", "_")]
    digest = hashlib.sha256(_dump(function).encode())
    for path in sorted(_reached(_imports(function) | set(modules))):
        digest.update(f"{path.relative_to(PACKAGE)}\n{_tree_hash(path)}\n".encode())
    return digest.hexdigest()[:16]


def _reached(names: set[str]) -> set[Path]:
    """Files of this package reached from dotted names, over any number of imports."""
    found: set[Path] = set()
    todo = [path for name in names for path in _files(name)]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [other for name in _module_imports(path) for other in _files(name)]
    return found


def _imports(tree: ast.AST) -> set[str]:
    """Dotted names that a piece of code imports from this package (absolute imports only)."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    # A registry names its modules in strings so that they load late: those count as imports too.
    names |= {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isascii()
    }
    return {name for name in names if name.startswith(f"{PACKAGE.name}.")}


def _files(name: str) -> list[Path]:
    """What importing a dotted name runs: the module, and the `__init__.py` of every package above it."""
    parts = name.split(".")[1:]
    paths = [PACKAGE.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    candidates = [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")]
    return [file for file in candidates if file.is_file()]


@functools.cache
def _module_imports(path: Path) -> set[str]:
    return _imports(_parse(path))


@functools.cache
def _tree_hash(path: Path) -> str:
    return hashlib.sha256(_dump(_parse(path)).encode()).hexdigest()


@functools.cache
def _functions(path: Path) -> dict[str, ast.AST]:
    return {node.name: node for node in _parse(path).body if isinstance(node, ast.FunctionDef)}


@functools.cache
def _parse(path: Path) -> ast.Module:
    """The file's syntax tree without docstrings."""
    tree = ast.parse(path.read_text(), filename=str(path))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _dump(tree: ast.AST) -> str:
    return ast.dump(tree, annotate_fields=False, include_attributes=False)
