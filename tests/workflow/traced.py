"""Runs verbs one after the other in this process and notes every line of the package that they execute.

Called as `traced.py PACKAGE COMMANDS OUT`: PACKAGE is the package's folder, COMMANDS a JSON list of lists of words, and
OUT gets a JSON list. For each command it has `lines`, [file relative to PACKAGE, line] of every line that ran inside a
function, and `looked_up`, the modules that it imported by a computed name and the entries that it read from tables.

Lines that run because a module is imported do not count: what the module then holds counts where it is used. Compiled
kernels run as Python (NUMBA_DISABLE_JIT), so that their lines are seen, and worker processes are threads here.
"""

import functools
import importlib
import inspect
import json
import os
import sys
import threading
from pathlib import Path

os.environ["NUMBA_DISABLE_JIT"] = "1"
PACKAGE = str(Path(sys.argv[1]).resolve()) + os.sep
executed: set[tuple[str, int]] = set()
looked_up: set[str] = set()


def on_call(frame, event, argument):
    """Trace a function of the package, unless an import calls it."""
    code = frame.f_code
    if not code.co_filename.startswith(PACKAGE) or not code.co_flags & inspect.CO_OPTIMIZED:
        return None
    caller = frame.f_back
    while caller is not None:
        if caller.f_code.co_name == "<module>" and caller.f_code.co_filename.startswith(PACKAGE):
            return None
        caller = caller.f_back
    return on_line


def on_line(frame, event, argument):
    if event == "line":
        executed.add((frame.f_code.co_filename, frame.f_lineno))
    return on_line


class Watched(dict):
    """A table that notes the entries that are read from it; its keys alone decide nothing."""

    def __init__(self, name: str, entries: dict) -> None:
        super().__init__(entries)
        self.name = name

    def __getitem__(self, key):
        looked_up.add(f"{self.name}[{key}]")
        return super().__getitem__(key)

    def get(self, key, default=None):
        looked_up.add(f"{self.name}[{key}]")
        return super().get(key, default)

    def values(self):
        return [self[key] for key in self]

    def items(self):
        return [(key, self[key]) for key in self]


def watch() -> None:
    """Watch the tables and imports by computed names; called before the modules that use them are imported."""
    import_module = importlib.import_module

    def watched(name, package=None):
        if name.startswith("sae_stability."):
            looked_up.add(name)
        return import_module(name, package)

    importlib.import_module = watched
    from sae_stability.pipeline.code_hash import TABLES

    for table in TABLES:
        module, _, name = table.rpartition(".")
        entries = getattr(import_module(module), name)
        users = [user for user in list(sys.modules.values()) if vars(user).get(name) is entries]
        for user in users:
            setattr(user, name, Watched(table, entries))


def forget() -> None:
    """Empty the package's caches: what one command has remembered, the next must do again."""
    for name, module in list(sys.modules.items()):
        if name.startswith("sae_stability"):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def main() -> None:
    import concurrent.futures

    class Threads(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, *args, mp_context=None, **kwargs):
            super().__init__(*args, **kwargs)

    concurrent.futures.ProcessPoolExecutor = Threads
    watch()
    from sae_stability import cli
    from sae_stability.match import cpu_products

    cpu_products.KERNELS = ()  # processor instructions, which Python cannot stand in for

    found = []
    for words in json.loads(Path(sys.argv[2]).read_text()):
        forget()
        executed.clear()
        looked_up.clear()
        threading.settrace(on_call)
        sys.settrace(on_call)
        try:
            code = cli.main(words)
        finally:
            sys.settrace(None)
            threading.settrace(None)
        if code:
            sys.exit(f"{' '.join(words)} gave {code}")
        lines = sorted((os.path.relpath(file, PACKAGE), line) for file, line in executed)
        found.append({"lines": lines, "looked_up": sorted(looked_up)})
    Path(sys.argv[3]).write_text(json.dumps(found))


main()
