"""Where arrays happen to lie in memory changes no bit."""

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
    """Where the heap begins and ends, which small arrays come from."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    line = next(line for line in lines if line.endswith("[heap]"))
    first, last = line.split()[0].split("-")
    return int(first, 16), int(last, 16)


def floats_below_the_heap() -> np.ndarray:
    """(ENTRIES,) float32 zeros on pages of their own, 64 MiB below it."""
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
    given = (0, 1, offsets, rows, values, gradients, x, x, weights, firsts, seconds, touched, 1, parts)
    cpu_topk.update_latents(*given, (ONE, ONE, tuple(np.float32([0.9, 0.1, 0.999, 0.001, 1e-8]))))
    return float(firsts[2][0])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux where the heap lies")
def test_what_lies_behind_the_gradients_does_not_change_their_sum() -> None:
    """Compiled code may ask at run time whether an array overlaps what it writes, and add otherwise if so.

    For an index that could be negative it takes the `len(array)` entries behind the array for part of it. So here an
    array below the heap claims lengths that bring those over every part of the heap.
    """
    bias_moment(np.ones(5, ONE.dtype), 5)  # what this loads enlarges the heap
    gradients = floats_below_the_heap()
    gradients[:] = np.random.default_rng(0).normal(size=ENTRIES)
    first, last = ((address - gradients.ctypes.data) // 4 for address in heap())
    lengths = range(max(ENTRIES, first - ENTRIES), last, ENTRIES // 2)
    if first < 0:
        pytest.skip("the system gave memory elsewhere")
    longer = [np.lib.stride_tricks.as_strided(gradients, (length,)) for length in lengths]
    assert len({bias_moment(array, ENTRIES) for array in longer}) == 1
