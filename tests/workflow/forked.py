"""Calls of Snakemake in processes forked from one that has imported it, so that no call imports it again.

Such a process holds Snakemake alone: each call imports the library from the copy of the project that it runs in.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["snakemake.cli"])


def snakemake(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run `snakemake WORDS` in a folder: its exit code, and all that it and its jobs print."""
    with tempfile.NamedTemporaryFile("r") as output:
        process = CONTEXT.Process(target=_call, args=(words, folder, environment, output.name))
        process.start()
        process.join()
        return process.exitcode, output.read()


def _call(words: list[str], folder: Path, environment: dict[str, str], output: str) -> None:
    from snakemake.cli import main

    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # As for `python -m snakemake`. Pytest's path leads to the library of the checkout.
    sys.path[:] = [str(folder), *(path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "workflow"))]
    sys.argv = ["snakemake", *words]
    main(words)
