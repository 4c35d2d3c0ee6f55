"""A small study with every stage on a disk that is full, and then a little larger, until all has room."""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostility.killed_studies import MOST_SECONDS, Running, make, tables

FIRST_BYTES = 64 * 1024
STEPS = 8  # sizes of the disk, from the first to that of the whole study


@dataclass
class Filling:
    """What came of running a study on full disks: jobs that told of it by stage, and what went wrong."""

    runs: int = 0
    whole: bool = False
    told: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def filled(folder: Path, progress=print) -> Filling:
    """Run the study on a small tmpfs, enlarge that after each run, and compare the study when it is whole. Needs root.

    Args:
        folder: empty folder for the study and its logs.
        progress: is told of every run.
    """
    project, found = make(folder / "project"), Filling()
    results, logs = project.folder / "results", folder / "logs"
    first = Running(project, folder / "undisturbed.log")
    if not first.wait(MOST_SECONDS) or first.process.exitcode:
        raise SystemExit(f"the undisturbed run fails:\n{first.log.read_text()[-4000:]}")
    expected = tables(project)
    needed = sum(path.stat().st_size + 4096 for path in results.rglob("*"))
    shutil.rmtree(results)
    logs.mkdir()
    results.mkdir()
    size = FIRST_BYTES
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(results)], check=True)
    try:
        (results / "logs").symlink_to(logs)  # logs have a disk of their own, so that they can tell
        while found.runs < 4 * STEPS:
            _run(project, folder / f"run-{found.runs}.log", logs, found)
            progress(f"{size / 2**20:.2f} MiB: {dict(found.told)}")
            if found.whole:
                break
            size += needed // STEPS
            subprocess.run(["mount", "-o", f"remount,size={size}", str(results)], check=True)
        now = tables(project)
        wrong = sorted(name for name in now.keys() | expected.keys() if now.get(name) != expected.get(name))
        found.faults += [f"{name}: not as in the undisturbed run" for name in wrong[:5]]
    finally:
        subprocess.run(["umount", str(results)], check=True)
    return found


def _run(project, log: Path, logs: Path, found: Filling) -> None:
    """Run the study once, and look at what its jobs say."""
    shutil.rmtree(logs)
    logs.mkdir()
    running = Running(project, log)
    found.runs += 1
    if not running.wait(MOST_SECONDS):
        found.faults.append(f"{log}: does not end")
        running.end()
    found.whole = running.process.exitcode == 0
    if "Traceback (most recent call last)" in log.read_text(errors="replace"):
        found.faults.append(f"{log}: a traceback")
    for job in logs.rglob("*.log"):
        errors = [line for line in job.read_text(errors="replace").splitlines() if line.startswith("error: ")]
        for line in errors:
            if re.fullmatch(r"error: [^ ]+: .*No space left.*", line):
                found.told[job.relative_to(logs).parts[0].removesuffix(".log")] += 1
            else:
                found.faults.append(f"{job}: {line}")
