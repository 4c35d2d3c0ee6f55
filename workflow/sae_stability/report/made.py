"""How a paper was made: settings, versions, commit, time and machine."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sae_stability.figures import phrases
from sae_stability.report.blocks import Block, paragraph, table
from sae_stability.report.evidence import Evidence

# What numbers depend on, besides the project's own code.
_PACKAGES = (
    *("sae-stability", "numpy", "scipy", "numba", "torch", "transformers", "datasets", "pandas", "matplotlib"),
    *("snakemake", "typst"),
)


def how_it_was_made(found: Evidence, records: Sequence[Path]) -> list[Block]:
    """The section's blocks.

    Args:
        found: what the paper is written from.
        records: the records of its figures, whose times say when they were drawn.
    """
    sources = [[phrases.escape(cell) for cell in row] for row in found.facts["sources"]]
    versions = [(phrases.escape(name), phrases.escape(version)) for name, version in _versions()]
    return [
        *paragraph(
            f"Study {phrases.escape(found.study)}, device {found.facts['device']}.",
            _commit(),
            _times(records),
            _machine(),
        ),
        *paragraph(
            "A sentence of this paper stands here because its condition holds in the tables of this run, and its "
            "numbers are taken from them. Each figure has its table beside it, as Parquet and CSV, in the folder "
            "*figures* of the results. How each SAE was trained is recorded beside it; every job's own words are in "
            "*logs*; the jobs are in workflow-report.html."
        ),
        *table("Sources", ("what", "name", "version or checksum", "more"), sources),
        *table("Software that wrote this paper", ("package", "version"), versions),
    ]


def _versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """The commit of the code, if it lies in a git repository of its own."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        said = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    changed = " with changes that are not committed" if said.endswith("-dirty") else ""
    return f"Code: git commit {phrases.escape(said.removesuffix('-dirty'))}{changed}."


def _times(records: Sequence[Path]) -> str:
    """When the figures were drawn: times of files, so that the same files give the same paper."""
    days = sorted(datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in records)
    if not days:
        return ""
    first, last = (day.strftime("%Y-%m-%d %H:%M") for day in (days[0], days[-1]))
    return (
        f"Its figures were drawn at {first} UTC."
        if first == last
        else f"Its figures were drawn from {first} to {last} UTC."
    )


def _machine() -> str:
    """The machine that writes the paper."""
    processor = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = phrases.count(os.cpu_count() or 1, "core")
    return f"Machine that wrote this paper: {phrases.escape(processor)}, {cores}, {platform.system()}."
