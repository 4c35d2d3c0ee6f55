"""Compilation of kernels by numba, with machine code kept on disk for as long as no source of a kernel changes.

Machine code includes that of called kernels and the values of constants, which may lie in other files. The cache of
numba alone notices only edits of the file that holds the kernel.
"""

import ast
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from numba import njit

ROOT = Path(__file__).parents[1]


def cached_njit(**options) -> Callable[[Callable], Callable]:
    """A decorator: numba's `njit` with a cache on disk that an edit of any file behind the kernel empties.

    The files behind a kernel are its own and, step by step, those of this package that they import at the top.

    Args:
        options: as for `njit`.
    """

    def compiled(function: Callable) -> Callable:
        kernel = njit(cache=True, **options)(function)
        if kernel is not function:  # NUMBA_DISABLE_JIT leaves a plain function
            # Numba believes cached code only if it was saved under the same stamp, which is a hash of one file. Where
            # the cache lies, and how processes share it, stays as numba does it.
            kernel._cache._cache_file._source_stamp = stamp(Path(function.__code__.co_filename))
        return kernel

    return compiled


@functools.cache
def stamp(file: Path) -> bytes:
    """Hash of a Python file and of all files of this package that it imports, directly or through others."""
    files, todo = set(), [file]
    while todo:
        file = todo.pop()
        if file not in files:
            files.add(file)
            todo += _imported(file)
    digests = (hashlib.sha256(file.read_bytes()).digest() for file in sorted(files))
    return hashlib.sha256(b"".join(digests)).digest()


@functools.cache
def _imported(file: Path) -> list[Path]:
    """The files of this package that a file imports at the top."""
    names = [name for statement in ast.parse(file.read_bytes()).body for name in _modules(statement)]
    paths = [ROOT.joinpath(*name.split(".")) for name in names if name.partition(".")[0] == __package__]
    candidates = (candidate for path in paths for candidate in (path.with_suffix(".py"), path / "__init__.py"))
    return [candidate for candidate in candidates if candidate.is_file()]


def _modules(statement: ast.stmt) -> Iterator[str]:
    """Dotted names that an import may load a module by: `from a import b` may mean a, or a.b."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        yield statement.module
        yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
