"""CPU kernels for latents that fire in varying numbers: finding them, and sums over them by latent.

As in `kernels`, each call writes its own range and adds in an order that does not depend on the range.
"""

import numpy as np
from numba import njit

from sae_stability.sae.kernels import FAST, add_rows, dot

KEYS = 1 << 15  # the upper 16 bits of a positive float, sign left out


@njit(nogil=True, cache=True)
def count_above(pre, floor, counts):
    """counts[row] = number of latents j with pre[row, j] > floor[j]."""
    for row in range(pre.shape[0]):
        n = 0
        for j in range(pre.shape[1]):
            n += pre[row, j] > floor[j]
        counts[row] = n


@njit(nogil=True, cache=True)
def fill_above(pre, floor, starts, counts, latents, values):
    """Write the latents that `count_above` counted, ascending, and their values, from starts[row] on."""
    for row in range(pre.shape[0]):
        at, end = starts[row], starts[row] + counts[row]
        for j in range(pre.shape[1]):
            if at < end and pre[row, j] > floor[j]:
                latents[at] = j
                values[at] = pre[row, j]
                at += 1


@njit(nogil=True, cache=True)
def count_keys(bits, shift, counts):
    """Histogram of the positive floats whose bit patterns are `bits`, by their upper bits: keys sort like values."""
    for b in bits:
        if b > 0:
            counts[b >> shift] += 1


@njit(nogil=True, cache=True)
def collect_key(bits, values, shift, key, out):
    """Write the values with this key to `out`; returns how many."""
    n = 0
    for i in range(len(bits)):
        if bits[i] > 0 and bits[i] >> shift == key:
            out[n] = values[i]
            n += 1
    return n


@njit(nogil=True, cache=True)
def order_by_latent(starts, counts, latents, offsets, order):
    """Counting sort: `order` lists the entries by latent, rows ascending; latent i's from offsets[i] on."""
    cursor = offsets[:-1].copy()
    for row in range(starts.shape[0]):
        for p in range(starts[row], starts[row] + counts[row]):
            order[cursor[latents[p]]] = p
            cursor[latents[p]] += 1


@njit(nogil=True, cache=True, fastmath=FAST)
def sums_by_latent(low, high, offsets, weights, out):
    """out[i] = sum of latent i's weights, for i in low..high-1; `weights` in the order by latent."""
    for latent in range(low, high):
        total = out[latent]
        total -= total
        for p in range(offsets[latent], offsets[latent + 1]):
            total += weights[p]
        out[latent] = total


@njit(nogil=True, cache=True)
def row_sums(low, high, offsets, rows, weights, matrix, shifts, out):
    """out[i] = sum over latent i's entries of weight * matrix[row + shifts[i]], for i in low..high-1."""
    out[low:high] = 0
    for latent in range(low, high):
        add_rows(out[latent], matrix, rows, weights, offsets[latent], offsets[latent + 1], -shifts[latent])


@njit(nogil=True, cache=True, fastmath=FAST)
def row_dots(low, high, starts, counts, latents, errors, shifts, decoder, out):
    """out[p] = errors[row + shifts[latent]] . decoder[latent] for the entries of rows low..high-1."""
    zero = np.zeros(1, errors.dtype)[0]
    for row in range(low, high):
        for p in range(starts[row], starts[row] + counts[row]):
            latent = latents[p]
            out[p] = dot(errors[row + shifts[latent]], decoder[latent], zero)


@njit(nogil=True, cache=True, fastmath=FAST)
def decode_rows(starts, counts, latents, values, decoder, out):
    """out[row] = sum over the row's entries of value * decoder[latent]."""
    out[:] = 0
    for row in range(out.shape[0]):
        add_rows(out[row], decoder, latents, values, starts[row], starts[row] + counts[row], 0)
