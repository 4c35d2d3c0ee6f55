"""Docstrings of installed packages: a corpus of technical English that every environment already has."""

import ast
import gc
import importlib.machinery
import importlib.util
import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sae_stability.errors import StudyError

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# Definitions occur in these statements only. Expressions, most of a tree, need not be visited.
_BLOCKS = (*_DOCUMENTED, ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ExceptHandler)


def docstrings(packages: list[str], min_characters: int) -> list[str]:
    """The different docstrings of `min_characters` characters or more, sorted as text.

    Packages are found but not imported; their sources are parsed but not run. Because of the sorting, neither the file
    system nor the order of `packages` changes the result.

    Args:
        packages: import names of installed packages (or single modules), submodules included.
        min_characters: the shortest docstring kept, after `inspect.cleandoc`.

    Raises:
        StudyError: a package is not installed, or has no Python source.
    """
    files = [path for package in packages for path in _sources(package)]
    # Python parses about 1 MB/s a core, so several processes share the work, the largest files first.
    files.sort(key=lambda path: -path.stat().st_size)
    # Plain fork is unsafe in a process that already runs threads (tokenizers, BLAS).
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("forkserver")) as pool:
        parts = pool.map(_docstrings_of_file, files, [min_characters] * len(files), chunksize=16)
        return sorted(set().union(*parts))


def find_package(package: str) -> importlib.machinery.ModuleSpec:
    """Where an installed package lies; it is not imported.

    Raises:
        StudyError: it is not installed.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise StudyError(f"corpus packages: '{package}' is not installed; install it or take it off the list")
    return spec


def _sources(package: str) -> list[Path]:
    spec = find_package(package)
    folders = spec.submodule_search_locations
    files = [path for folder in folders for path in Path(folder).rglob("*.py")] if folders else [Path(spec.origin)]
    files = [path for path in files if path.suffix == ".py" and path.is_file()]
    if not files:
        raise StudyError(f"corpus packages: '{package}' has no Python source files; take it off the list")
    return files


def _docstrings_of_file(path: Path, min_characters: int) -> set[str]:
    source = path.read_bytes()
    # A long docstring has triple quotes. A quarter of all files have none, and need not be parsed.
    if b'"""' not in source and b"'''" not in source:
        return set()
    gc.disable()  # the collector would walk the growing tree again and again, half the time of a parse
    try:
        return {text for text in _docstrings_of_source(source) if len(text) >= min_characters}
    finally:
        gc.enable()


def _docstrings_of_source(source: bytes) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in other people's code
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # packages ship templates and Python 2 examples
        return
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            # A docstring may hold lone surrogates ("\ud800"), which no tokenizer takes.
            yield text.encode("utf-8", "replace").decode("utf-8")
        nodes.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, _BLOCKS))
