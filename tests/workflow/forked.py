"""Calls of Snakemake, and the jobs that it starts, in processes forked from one that has imported what they need.

Such a process holds Snakemake and other libraries, and nothing of the project: each call and each job imports the
project's own library from the copy that it runs in. Importing the others takes most of a small job's time.
"""

import atexit
import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("matplotlib.backends.backend_agg", "numba", "pandas", "pyarrow.parquet", "scipy.stats", "torch")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["snakemake.cli", *LIBRARIES])

# The `python` of a job's command: hands its words, folder, variables and streams over, and ends as the job does.
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
job = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(job).to_bytes(8, "big")], [0, 1, 2])
server.sendall(job)
sys.exit(int(server.recv(9) or 1))
"""


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
    # Pytest's path leads to the library of the checkout.
    sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "workflow")]
    with _server_of_jobs() as python:
        os.environ.clear()
        os.environ.update(environment)
        # The Snakefile has jobs run the `python` that lies beside this one.
        sys.executable = str(python)
        # As for `python -m snakemake`.
        sys.path.insert(0, str(folder))
        sys.argv = ["snakemake", *words]
        # What this call registers for its end runs at its end, as in a process that was not forked.
        atexit._clear()
        try:
            main(words)
        finally:
            atexit._run_exitfuncs()


@contextlib.contextmanager
def _server_of_jobs():
    """The `python` whose calls run in processes forked from this one."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        python, address = Path(folder, "python"), str(Path(folder, "jobs"))
        python.write_text(CLIENT.format(python=PYTHON, address=address))
        python.chmod(0o755)
        listener.bind(address)
        listener.listen()
        server = os.fork()
        if not server:
            _serve(listener)
        try:
            yield python
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)


def _serve(listener: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = 1
            try:
                code = _job(connection)
            except BaseException:
                traceback.print_exc()
            finally:
                connection.sendall(str(code).encode())
                os._exit(0)
        connection.close()


def _reap(*_) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _job(connection: socket.socket) -> int:
    """Run `python -m MODULE WORDS` as the client was called; the exit code."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as file:
        words, folder, environment = json.loads(file.read(int.from_bytes(head, "big")))
    for stream, given in enumerate(streams):
        os.dup2(given, stream)
        os.close(given)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [folder, *paths]
    sys.executable = PYTHON
    assert words[0] == "-m"
    sys.argv = words[1:]
    try:
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
