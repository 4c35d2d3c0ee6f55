"""The process's largest resident memory."""

import re
import resource
import sys
from pathlib import Path


def reset_peak() -> None:
    """Start counting the peak from now (Linux; elsewhere the peak is the process's since its start)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Largest resident memory of this process since `reset_peak`, in bytes."""
    try:
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
    except (OSError, AttributeError):
        # Kilobytes, except on macOS: bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
