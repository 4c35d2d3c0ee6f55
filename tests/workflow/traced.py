"""Runs verbs one after the other in this process and notes every line of the package that they execute.

Called as `traced.py PACKAGE COMMANDS OUT`: PACKAGE is the package's folder, COMMANDS a JSON list of lists of words, and
OUT gets a JSON list: for each command, [file relative to PACKAGE, line] of every line that ran inside a function.

Lines that run because a module is imported do not count: what the module then holds counts where it is used. Compiled
kernels run as Python (NUMBA_DISABLE_JIT), so that their lines are seen, and worker processes are threads here.
"""

import functools
import inspect
import json
import os
import sys
import threading
from pathlib import Path

os.environ["NUMBA_DISABLE_JIT"] = "1"
PACKAGE = str(Path(sys.argv[1]).resolve()) + os.sep
executed: set[tuple[str, int]] = set()


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
    from sae_stability import cli
    from sae_stability.match import cpu_products

    cpu_products.KERNELS = ()  # processor instructions, which Python cannot stand in for

    found = []
    for words in json.loads(Path(sys.argv[2]).read_text()):
        forget()
        executed.clear()
        threading.settrace(on_call)
        sys.settrace(on_call)
        try:
            code = cli.main(words)
        finally:
            sys.settrace(None)
            threading.settrace(None)
        if code:
            sys.exit(f"{' '.join(words)} gave {code}")
        found.append(sorted((os.path.relpath(file, PACKAGE), line) for file, line in executed))
    Path(sys.argv[3]).write_text(json.dumps(found))


main()
