"""The processor cores and the GPU of a job."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.ranges import checked_count


def cores() -> int:
    """Processor cores that this process may use."""
    # macOS and Windows have no `sched_getaffinity`.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(threads: int | None) -> int:
    """Number of threads to use: `threads`, or as many as there are cores for None.

    Raises:
        StudyError: not a whole number of at least 1.
    """
    return cores() if threads is None else checked_count("threads", threads)


def check_device(device: object) -> None:
    """Check that torch can compute on `device`, before anything is loaded.

    Raises:
        StudyError: no device of that name, or none on this machine.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise StudyError(
            f"device: {str(device)!r} cannot be used here ({reason}); give 'cpu', or 'cuda' where there is a GPU"
        ) from None


@contextlib.contextmanager
def claimed(device: str) -> Iterator[str]:
    """Reserve a GPU of this machine for this process, so that jobs side by side use different GPUs.

    Snakemake counts GPUs but does not say which one a job may use. So each GPU has a lock file. The lock ends with the
    process: a killed job leaves no GPU locked. Sets CUDA_VISIBLE_DEVICES, so it must run before torch starts CUDA.

    Args:
        device: "cpu" or "cuda".

    Yields:
        The device's name for torch.

    Raises:
        StudyError: "cuda" where PyTorch finds no GPU.
    """
    ids = _visible_gpus() if device == "cuda" else []
    with contextlib.ExitStack() as stack:
        if len(ids) > 1:
            os.environ["CUDA_VISIBLE_DEVICES"] = _lock_one(ids, stack)
        if device == "cuda":
            _check_cuda()
        yield device


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise StudyError(
            f"device: cuda, but PyTorch {torch.__version__} ({built}) finds no GPU here; write `device: cpu` in the "
            "study (--device cpu), or install a driver and a PyTorch built for CUDA"
        )


def _visible_gpus() -> list[str]:
    """The GPUs that this process may use: those in CUDA_VISIBLE_DEVICES, else all that the driver lists."""
    preset = os.environ.get("CUDA_VISIBLE_DEVICES")
    if preset is not None:
        return [number for number in preset.split(",") if number]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def _lock_one(ids: list[str], stack: contextlib.ExitStack) -> str:
    """Wait until one of the GPUs is free, lock it until `stack` closes, and return its number."""
    import fcntl  # not on Windows, and seldom needed

    while True:
        for number in ids:
            name = f"sae-stability-gpu-{number.replace('/', '-')}.lock"
            with contextlib.ExitStack() as attempt, contextlib.suppress(BlockingIOError):
                file = attempt.enter_context(open(Path(tempfile.gettempdir()) / name, "w"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stack.push(attempt.pop_all())
                return number
        time.sleep(0.2)
