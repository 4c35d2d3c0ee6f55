"""What made a result, beside its inputs: the commit of the code, versions of packages, the machine, and the time.

None of it may stand in a result, which must have the same bytes wherever it is made. A job writes it into its log.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

# What numbers depend on, besides the project's own code.
PACKAGES = (
    *("sae-stability", "numpy", "scipy", "numba", "torch", "transformers", "datasets", "pandas", "matplotlib"),
    *("snakemake", "typst"),
)
LINE = "made by: "
"""What the line in a log begins with; JSON follows."""


def made() -> dict:
    """What would make a result now.

    Returns:
        `finished`: the time, UTC. `commit`: of the code; None outside a git repository. `changed`: whether the code
        differs from that commit. `python`. `packages`: name -> version. `processor`, `cores`, `system`, `gpu`: the
        machine; `gpu` is None where this process has used none.
    """
    commit, changed = _commit()
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "changed": changed,
        "python": platform.python_version(),
        "packages": _versions(),
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "gpu": _gpu(),
    }


def line(verb: str, config_hashes: list[str]) -> str:
    """The line for a log: the verb, the fingerprints of the results that it has made, and what made them."""
    return LINE + json.dumps({"verb": verb, "config_hash": config_hashes, **made()})


def lines_in(log: Path) -> list[dict]:
    """What the lines of a log say; one that is cut off says nothing."""
    found = []
    with open(log, encoding="utf-8", errors="replace") as file:
        for text in file:
            if text.startswith(LINE):
                try:
                    found.append(json.loads(text.removeprefix(LINE)))
                except ValueError:
                    continue
    return found


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> tuple[str | None, bool]:
    """The commit of the code, if it lies in a git repository of its own, and whether the code has changed since."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None, False
    try:
        # Without optional locks: many jobs may ask at once.
        words = ["git", "--no-optional-locks", "-C", str(root)]
        words += ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        said = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None, False
    return said.removesuffix("-dirty"), said.endswith("-dirty")


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _gpu() -> str | None:
    """The device that this process has used; importing torch only to ask would take seconds."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    return torch.cuda.get_device_name() if used else None
