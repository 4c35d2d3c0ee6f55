"""Runs verbs one after the other in this process and notes every line of the package that they execute.

Called as `traced.py PACKAGE COMMANDS OUT`: PACKAGE is the package's folder, COMMANDS a JSON list of lists of words, and
OUT gets a JSON list. For each command it has `lines`, [file relative to PACKAGE, line] of every line that ran inside a
function, and `looked_up`, the modules that it imported by a computed name and the entries that it read from tables.

Lines that run because a module is imported do not count: what the module then holds counts where it is used. So every
module is imported before the first command. Compiled kernels run as Python (NUMBA_DISABLE_JIT), so that their lines are
seen, and worker processes are threads here.
"""

import functools
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

import coverage

os.environ["NUMBA_DISABLE_JIT"] = "1"
PACKAGE = str(Path(sys.argv[1]).resolve()) + os.sep
looked_up: set[str] = set()


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
    """Import every module of the package, and watch its tables and its imports by computed names."""
    import_module = importlib.import_module
    for module in pkgutil.walk_packages([PACKAGE], "sae_stability."):
        if not module.name.endswith("__main__"):
            import_module(module.name)

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


def draw_once() -> None:
    """Draw each picture once and write an empty one: what Matplotlib does to write it runs no line of the package."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def savefig(picture: Figure, file: Path, **settings: object) -> None:
        if not getattr(picture, "was_drawn", False):
            picture.draw_without_rendering()
            picture.was_drawn = True
        save(Figure(figsize=(1, 1)), file, **settings)

    Figure.savefig = savefig


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
    draw_once()

    tracer = coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}*"])
    found = []
    for words in json.loads(Path(sys.argv[2]).read_text()):
        forget()
        looked_up.clear()
        tracer.erase()
        tracer.start()
        try:
            code = cli.main(words)
        finally:
            tracer.stop()
        if code:
            sys.exit(f"{' '.join(words)} gave {code}")
        data = tracer.get_data()
        lines = sorted(
            (os.path.relpath(file, PACKAGE), line) for file in data.measured_files() for line in data.lines(file)
        )
        found.append({"lines": lines, "looked_up": sorted(looked_up)})
    Path(sys.argv[3]).write_text(json.dumps(found))


main()
