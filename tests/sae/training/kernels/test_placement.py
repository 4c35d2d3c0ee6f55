"""Results do not depend on the addresses of arrays in memory."""

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from sae_stability.sae.training.kernels import cpu_topk

ENTRIES = 1 << 20
ONE = np.float32(1)


def heap() -> tuple[int, int]:
    """Start and end addresses of the heap, where small arrays are allocated."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    line = next(line for line in lines if line.endswith("[heap]"))
    first, last = line.split()[0].split("-")
    return int(first, 16), int(last, 16)


def floats_below_the_heap() -> np.ndarray:
    """(ENTRIES,) float32 zeros on their own memory pages, 64 MiB below the heap."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    wish = (heap()[0] - (64 << 20)) & -mmap.PAGESIZE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = libc.mmap(wish, 4 * ENTRIES, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    return np.frombuffer((ctypes.c_float * ENTRIES).from_address(address), np.float32)


def bias_moment(gradients: np.ndarray, entries: int) -> float:
    """First moment of the bias of one latent after one step, from the first `entries` of the gradients."""
    weights, firsts, seconds = ((np.ones((1, 1), ONE.dtype),) * 2 + (np.zeros(1, ONE.dtype),) for _ in range(3))
    rows, values, x = np.zeros(entries, np.int32), np.zeros(entries, ONE.dtype), np.ones((1, 1), ONE.dtype)
    offsets, touched, parts = np.array([0, entries]), np.ones(1, bool), np.zeros((1, 1), ONE.dtype)
    arguments = (0, 1, offsets, rows, values, gradients, x, x, weights, firsts, seconds, touched, 1, parts)
    cpu_topk.update_latents(*arguments, (ONE, ONE, tuple(np.float32([0.9, 0.1, 0.999, 0.001, 1e-8]))))
    return float(firsts[2][0])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux where the heap lies")
def test_memory_behind_the_gradients_does_not_change_their_sum() -> None:
    """Compiled code may test at run time whether an array overlaps its output, and if so add in another order.

    For an index that could be negative, this test includes the `len(array)` entries behind the array. So this test uses
    an array below the heap with claimed lengths for which those entries cover every part of the heap.
    """
    bias_moment(np.ones(5, ONE.dtype), 5)  # compiles first, since loading the code enlarges the heap
    gradients = floats_below_the_heap()
    gradients[:] = np.random.default_rng(0).normal(size=ENTRIES)
    first, last = ((address - gradients.ctypes.data) // 4 for address in heap())
    lengths = range(max(ENTRIES, first - ENTRIES), last, ENTRIES // 2)
    if first < 0:
        pytest.skip("the system gave memory elsewhere")
    longer = [np.lib.stride_tricks.as_strided(gradients, (length,)) for length in lengths]
    assert len({bias_moment(array, ENTRIES) for array in longer}) == 1
