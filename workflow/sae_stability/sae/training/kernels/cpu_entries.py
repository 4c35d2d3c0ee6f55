"""CPU kernels for a varying number of firing latents: find them, and sum over them by latent.

As in `cpu_topk`, each call writes only its own range and adds in an order that does not depend on the range.
"""

import math

import numpy as np

from sae_stability.compiled import cached_njit
from sae_stability.sae.training.kernels.cpu_topk import FAST, adam, add_rows, dot

RUN = 64  # neighbouring latents counted at once; only runs with a latent above the floor are searched one by one


@cached_njit(nogil=True)
def count_above(pre, floor, counts):
    """counts[row] = number of latents j with pre[row, j] > floor[j]."""
    for row in range(pre.shape[0]):
        counts[row] = _reaching(pre[row], floor)


@cached_njit(nogil=True)
def _reaching(values, floor):
    count = np.int32(0)  # 32 bits, so that more counts fit in a vector register
    for j in range(len(values)):
        count += np.int32(values[j] > floor[j])
    return count


@cached_njit(nogil=True)
def fill_above(pre, floor, starts, counts, latents, values):
    """Write the latents that `count_above` counted, ascending, and their values, starting at starts[row]."""
    n_latents = pre.shape[1]
    for row in range(pre.shape[0]):
        at, end = starts[row], starts[row] + counts[row]
        for low in range(0, n_latents, RUN):
            high = min(low + RUN, n_latents)
            if at < end and _reaching(pre[row, low:high], floor[low:high]):
                for j in range(low, high):
                    if pre[row, j] > floor[j]:
                        latents[at] = j
                        values[at] = pre[row, j]
                        at += 1


@cached_njit(nogil=True)
def order_by_latent(starts, counts, latents, offsets, order):
    """Counting sort: `order` lists the entries by latent, then by row; those of latent i start at offsets[i]."""
    cursor = offsets[:-1].copy()
    for row in range(starts.shape[0]):
        for p in range(starts[row], starts[row] + counts[row]):
            order[cursor[latents[p]]] = p
            cursor[latents[p]] += 1


@cached_njit(nogil=True, fastmath=FAST)
def sums_by_latent(low, high, offsets, weights, out):
    """out[i] = sum of latent i's weights, for i in low..high-1; `weights` are sorted by latent."""
    for latent in range(low, high):
        total = out[latent]
        total -= total
        for p in range(offsets[latent], offsets[latent + 1]):
            total += weights[p]
        out[latent] = total


@cached_njit(nogil=True)
def row_sums(low, high, offsets, rows, weights, matrix, shifts, out):
    """out[i] = sum over latent i's entries of weight * matrix[row + shifts[i]], for i in low..high-1."""
    out[low:high] = 0
    for latent in range(low, high):
        add_rows(out[latent], matrix, rows, weights, offsets[latent], offsets[latent + 1], -shifts[latent])


@cached_njit(nogil=True, fastmath=FAST)
def row_dots(low, high, starts, counts, latents, errors, shifts, decoder, out):
    """out[p] = errors[row + shifts[latent]] . decoder[latent] for the entries of rows low..high-1."""
    zero = np.zeros(1, errors.dtype)[0]
    for row in range(low, high):
        for p in range(starts[row], starts[row] + counts[row]):
            latent = latents[p]
            out[p] = dot(errors[row + shifts[latent]], decoder[latent], zero)


@cached_njit(nogil=True, fastmath=FAST)
def decode_rows(low, high, starts, counts, latents, values, decoder, out):
    """out[row] = sum over the row's entries of value * decoder[latent], for rows low..high-1."""
    out[low:high] = 0
    for row in range(low, high):
        add_rows(out[row], decoder, latents, values, starts[row], starts[row] + counts[row], 0)


@cached_njit(nogil=True, fastmath=FAST, error_model="numpy")
def adam_unit_rows(weight, gradient, first, second, rate, correction, constants):
    """Adam step for unit rows: remove the gradient along each row (in place), take the step, renormalise the row."""
    zero = np.zeros(1, weight.dtype)[0]
    for row in range(weight.shape[0]):
        w, g = weight[row], gradient[row]
        along = dot(g, w, zero)
        for j in range(w.shape[0]):
            g[j] -= along * w[j]
        adam(w, g, first[row], second[row], rate, correction, constants)
        norm = math.sqrt(dot(w, w, zero))
        for j in range(w.shape[0]):
            w[j] /= norm
