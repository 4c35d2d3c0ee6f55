"""bench/RESULTS.md: one section for each benchmark, with the machine that it ran on."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def machine(packages: tuple[str, ...]) -> str:
    """Processor, cores and memory of this machine, and versions of Python and of `packages`."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1)) / 2**20
    flags = re.search(r"flags\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()).group(1).split()
    vector = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "no AVX")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{model.group(1)} ({vector}), {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {names}"
    )


def write_section(title: str, body: str) -> None:
    """Replace the section `## title` of RESULTS.md, or append it; others stay as they are."""
    text = RESULTS.read_text() if RESULTS.exists() else "# Benchmarks\n"
    section = f"## {title}\n\n{body.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    text, found = pattern.subn(lambda _: section + "\n", text)
    if not found:
        text = text.rstrip() + "\n\n" + section
    RESULTS.write_text(text.rstrip() + "\n")
