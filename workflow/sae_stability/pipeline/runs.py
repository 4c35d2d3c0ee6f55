"""One run at a time in a results folder, and the lock that a killed run of Snakemake leaves behind."""

import argparse
import atexit
import contextlib
import fcntl
import json
import os
import socket
from pathlib import Path

from sae_stability.errors import StudyError

MARK = ".running"
"""The file in a results folder by which a run holds it. It is there while the run goes on, or after it was killed."""

# What makes Snakemake show something and run no job, or leave locks alone.
_SHOWS = "dryrun touch lint report dag rulegraph filegraph d3dag summary detailed_summary archive unlock nolock"
_SHOWS += " list_rules list_target_rules list_changes list_input_changes list_params_changes list_untracked"
_SHOWS += " list_conda_envs cleanup_metadata delete_all_output delete_temp_output containerize generate_unit_tests"


def runs_jobs(asked: argparse.Namespace) -> bool:
    """Whether Snakemake, called with these flags, is to run jobs."""
    return not any(getattr(asked, flag, None) for flag in _SHOWS.split())


def check_folder(results: Path) -> None:
    """Refuse a results folder that no run could write to.

    Raises:
        StudyError: it, or a folder above it, is a file.
    """
    for folder in (results, *results.parents):
        if folder.exists() and not folder.is_dir():
            raise StudyError(
                f"{folder}: is a file, but the study's results go there; move it away, or name another folder under "
                "`results` in the study"
            )


def claim(results: Path, locks: Path) -> str | None:
    """Hold the results folder until this process ends.

    A run that was killed leaves Snakemake's own lock behind. Where its process ran on this machine and is gone, that
    lock is removed.

    Args:
        results: the study's results folder.
        locks: the folder of Snakemake's locks.

    Returns:
        A line about a lock that was left behind; None if there is none.

    Raises:
        StudyError: another run holds the folder.
    """
    results.mkdir(parents=True, exist_ok=True)
    mark = results / MARK
    file = _held(mark)
    left = _left_behind(locks, results)
    if file is None:
        # Without locks on this file system nobody knows whether another run goes on; Snakemake's lock stands.
        return (
            left and f"note: if no other run goes on in {results}, `snakemake --unlock` removes the lock that is left"
        )
    killed = _read(mark)
    content = json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode()
    os.pwrite(file, content, 0)
    os.truncate(file, len(content))
    atexit.register(_release, mark, file, os.getpid())
    if not left or not killed:
        return None
    if killed["host"] != socket.gethostname():
        return (
            f"note: a run on {killed['host']} (process {killed['process']}) left a lock; if it is gone, "
            "`snakemake --unlock` removes it"
        )
    for lock in left:
        lock.unlink(missing_ok=True)
    return f"note: the run before this one (process {killed['process']}) was killed; the lock that it left is removed"


def _held(mark: Path) -> int | None:
    """The mark, locked by this process; None where the file system has no locks."""
    while True:
        file = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            other = _read(mark)
            who = f" (process {other['process']} on {other['host']})" if other else ""
            raise StudyError(
                f"{mark.parent}: another run{who} goes on in this folder; wait until it ends, or stop it"
            ) from None
        except OSError:
            os.close(file)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(mark)):
                return file
        os.close(file)  # the run that held it has just ended and removed it


def _read(mark: Path) -> dict | None:
    """Which process wrote a mark, and on which machine; None if it does not say."""
    try:
        value = json.loads(mark.read_bytes())
        return {"process": int(value["process"]), "host": str(value["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _left_behind(locks: Path, results: Path) -> list[Path]:
    """Snakemake's locks in which files of these results stand, one a line."""
    found = []
    for lock in sorted(locks.glob("*.lock")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if any(_is_of(results, Path(line)) for line in lock.read_text(encoding="utf-8").splitlines()):
                found.append(lock)
    return found


def _is_of(results: Path, file: Path) -> bool:
    """Whether a file lies in a results folder, and not in that of another study below it that runs or was killed."""
    if not file.is_relative_to(results):
        return False
    between = [folder for folder in file.parents if folder != results and folder.is_relative_to(results)]
    return not any((folder / MARK).exists() for folder in between)


def _release(mark: Path, file: int, process: int) -> None:
    """Remove the mark, in the process that made it and not in one forked from it."""
    if os.getpid() == process:
        with contextlib.suppress(OSError):
            mark.unlink()
        os.close(file)
