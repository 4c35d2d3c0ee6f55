"""The arithmetic of a sparse training step on a CPU, one thread each.

Latents that fire are kept as flat lists: row r's entries stand at `starts[r] : starts[r] + counts[r]` of `index` and
`value`. Every kernel takes a range of rows or latents, writes nothing outside it, and adds in an order that does not
depend on the range, so results do not depend on how the work is shared out.

`contract` and `reassoc` let the compiler use fused multiply-adds and several partial sums; which ones is fixed when
it compiles, so the same machine type gives the same bits. The flags that assume away NaN or infinity stay off: a NaN
must reach the loss.

A loop over an index that could be negative must not both add up and write: compiled code then asks at run time whether
what it writes overlaps what it reads, or the same length of memory behind that, and adds in another order if so. What
lies there is chance.
"""

import math

import numpy as np
from numba import njit

FAST = {"contract", "reassoc", "nsz"}
SPAN = 16  # latents in a span, whose maximum is looked at first
FEW = 96  # candidates that are ranked by comparing each with each
BINS = 256  # of the histogram of the spans' maxima


@njit(nogil=True, cache=True, fastmath=FAST)
def centre(x, mean, inverse_scale, decoder_bias, out, column_sums):
    """out = (x - mean) * inverse_scale - decoder_bias; adds to `column_sums` (d,) float64; returns sum(out ** 2)."""
    square = 0.0
    for row in range(x.shape[0]):
        source, target = x[row], out[row]
        part = 0.0
        for j in range(x.shape[1]):
            value = (source[j] - mean[j]) * inverse_scale - decoder_bias[j]
            target[j] = value
            column_sums[j] += value
            part += np.float64(value) * value
        square += part
    return square


@njit(nogil=True, cache=True)
def _kth_largest(values, n, k):
    """The k-th largest of values[:n] (k from 1); reorders them. Quickselect, middle element as pivot."""
    low, high, want = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return values[want]


@njit(nogil=True, cache=True)
def _span_maxima(scores, maxima):
    """The maximum of each span; span s is every len(maxima)-th latent from s, so whole vectors are compared.

    Both are bit patterns of floats read as integers: positive ones sort alike, negative ones stay below them, and the
    compiler makes vector operations of integer maxima only.
    """
    n_spans = len(maxima)
    for s in range(n_spans):
        maxima[s] = scores[s]
    for t in range(1, SPAN):
        part = scores[t * n_spans : (t + 1) * n_spans]
        for s in range(n_spans):
            maxima[s] = max(part[s], maxima[s])


@njit(nogil=True, cache=True, error_model="numpy")
def _lower_bound(maxima, k, zero, histogram):
    """A number that at least k of `maxima` reach (0 where fewer are positive), close to the k-th largest.

    Found by a histogram, which has no branches to mispredict: on 512 maxima a quickselect takes longer than the rest
    of the selection.
    """
    histogram[:] = 0
    highest = zero
    for m in maxima:
        highest = max(highest, m)
    scale = BINS / highest
    for m in maxima:
        histogram[max(0, min(BINS - 1, int(max(m, zero) * scale)))] += 1
    reached, lowest = 0, BINS
    while lowest > 0 and reached < k:
        lowest -= 1
        reached += histogram[lowest]
    return lowest / scale * 0.99999  # below the bin's edge, whatever was rounded


@njit(nogil=True, cache=True)
def select(pre, bits, bias, k, starts, counts, index, value):
    """The k largest positive entries of each row of pre + bias; of equal ones the lower index first.

    At least k entries reach a number that k of the spans' maxima reach, so only spans that reach it are looked into:
    a few of them, and the rest of the row is read once.

    Args:
        pre: (rows, n_latents); `bias` (n_latents,) is added in place. bits: the same memory as integers.
        k: at most n_latents.
        starts: (rows,) where each row's entries begin; room for k.
        counts: (rows,) written: how many (fewer than k where fewer are positive).
        index, value: flat lists, written; indices of a row ascend.
    """
    n_latents = pre.shape[1]
    n_spans = n_latents // SPAN
    bit_maxima = np.empty(n_spans, bits.dtype)
    maxima = bit_maxima.view(pre.dtype)
    scratch = np.zeros(n_latents, pre.dtype)
    found = np.empty(n_latents + 1, np.int32)
    spans = np.empty(n_spans + 1, np.int32)
    histogram = np.empty(BINS, np.int32)
    zero = scratch[0]
    for row in range(pre.shape[0]):
        scores = pre[row]
        for j in range(n_latents):
            scores[j] += bias[j]
        _span_maxima(bits[row], bit_maxima)
        floor = zero
        if n_spans >= k:
            floor = pre.dtype.type(_lower_bound(maxima, k, zero, histogram))
        n_reached = 0
        for s in range(n_spans):
            spans[n_reached] = s
            n_reached += not maxima[s] < floor
        n_found = 0
        for t in range(SPAN):
            for i in range(n_reached):
                j = t * n_spans + spans[i]
                found[n_found] = j
                n_found += not (scores[j] < floor or scores[j] <= zero)
        for j in range(SPAN * n_spans, n_latents):
            found[n_found] = j
            n_found += not (scores[j] < floor or scores[j] <= zero)
        for i in range(n_found):
            scratch[i] = scores[found[i]]
        counts[row] = _keep_largest(scratch, found, n_found, k, zero, index, value, starts[row])


@njit(nogil=True, cache=True, fastmath=FAST)
def _rank(scores, n, i):
    """How many of scores[:n] come before scores[i]: larger, or equal and earlier."""
    score, before = scores[i], np.int32(0)
    for j in range(i):
        before += np.int32(scores[j] >= score)
    for j in range(i + 1, n):
        before += np.int32(scores[j] > score)
    return before


@njit(nogil=True, cache=True)
def _keep_largest(scores, found, n_found, k, zero, index, value, start):
    """Write the k best candidates, latents found[:n_found] with scores[:n_found], at `start`; returns how many."""
    cut, ties = zero, n_found
    if n_found > FEW:
        copy = scores[:n_found].copy()
        cut = _kth_largest(copy, n_found, k)
        ties = k
        for i in range(n_found):
            ties -= scores[i] > cut
    at = start
    for i in range(n_found):
        if n_found > FEW:
            ties -= scores[i] == cut
            keep = scores[i] > cut or (scores[i] == cut and ties >= 0)
        else:
            keep = n_found <= k or _rank(scores, n_found, i) < k
        if keep and at < start + k:
            index[at] = found[i]
            value[at] = scores[i]
            at += 1
    return at - start


@njit(nogil=True, cache=True, fastmath=FAST)
def dot(a, b, zero):
    """a . b; `zero` of their dtype keeps the sum in it."""
    for j in range(a.shape[0]):
        zero += a[j] * b[j]
    return zero


@njit(nogil=True, cache=True, fastmath=FAST)
def decode(target, decoder, starts, counts, index, value, error, value_gradient, row_loss, error_sum):
    """For each row: error = decoder^T latents - target, and its product with each firing decoder row.

    Args:
        target: (rows, d) what the latents should add up to.
        error: (rows, d) written.
        value_gradient: flat like `value`, written: error . decoder[index], half the squared error's gradient.
        row_loss: (rows,) float64 written: sum(error ** 2).
        error_sum: (d,) added to: the sum of the errors.
    """
    width = target.shape[1]
    zero = np.zeros(1, target.dtype)[0]
    for row in range(target.shape[0]):
        e, t = error[row], target[row]
        start, count = starts[row], counts[row]
        for j in range(width):
            e[j] = -t[j]
        whole = start + count // 4 * 4
        for p in range(start, whole, 4):
            a, b, c, d = decoder[index[p]], decoder[index[p + 1]], decoder[index[p + 2]], decoder[index[p + 3]]
            va, vb, vc, vd = value[p], value[p + 1], value[p + 2], value[p + 3]
            for j in range(width):
                e[j] += (va * a[j] + vb * b[j]) + (vc * c[j] + vd * d[j])
        for p in range(whole, start + count):
            a, va = decoder[index[p]], value[p]
            for j in range(width):
                e[j] += va * a[j]
        for p in range(start, whole, 4):
            a, b, c, d = decoder[index[p]], decoder[index[p + 1]], decoder[index[p + 2]], decoder[index[p + 3]]
            da, db, dc, dd = zero, zero, zero, zero
            for j in range(width):
                da += e[j] * a[j]
                db += e[j] * b[j]
                dc += e[j] * c[j]
                dd += e[j] * d[j]
            value_gradient[p], value_gradient[p + 1], value_gradient[p + 2], value_gradient[p + 3] = da, db, dc, dd
        for p in range(whole, start + count):
            value_gradient[p] = dot(e, decoder[index[p]], zero)
        row_loss[row] = dot(e, e, zero)
        for j in range(width):
            error_sum[j] += e[j]


@njit(nogil=True, cache=True)
def count_by_latent(starts, counts, index, offsets):
    """offsets[i + 1] += number of entries of latent i."""
    for row in range(starts.shape[0]):
        for p in range(starts[row], starts[row] + counts[row]):
            offsets[index[p] + 1] += 1


@njit(nogil=True, cache=True)
def sort_by_latent(starts, counts, index, value, value_gradient, scale, row_shift, cursor, rows, values, gradients):
    """Counting sort of the entries by latent, rows ascending; values and gradients times `scale` on the way.

    Args:
        cursor: (n_latents,) where the next entry of each latent goes; moved on.
        rows, values, gradients: the sorted lists, written. `row_shift` is added to the row number.
    """
    for row in range(starts.shape[0]):
        for p in range(starts[row], starts[row] + counts[row]):
            at = cursor[index[p]]
            cursor[index[p]] = at + 1
            rows[at] = row + row_shift
            values[at] = value[p] * scale
            gradients[at] = value_gradient[p] * scale


@njit(nogil=True, cache=True, fastmath=FAST)
def add_rows(out, matrix, rows, weights, first, last, shift):
    """out += sum over p in first..last-1 of weights[p] * matrix[rows[p] - shift], in order."""
    width = out.shape[0]
    whole = first + (last - first) // 4 * 4
    for p in range(first, whole, 4):
        a, b = matrix[rows[p] - shift], matrix[rows[p + 1] - shift]
        c, d = matrix[rows[p + 2] - shift], matrix[rows[p + 3] - shift]
        va, vb, vc, vd = weights[p], weights[p + 1], weights[p + 2], weights[p + 3]
        for j in range(width):
            out[j] += (va * a[j] + vb * b[j]) + (vc * c[j] + vd * d[j])
    for p in range(whole, last):
        a, va = matrix[rows[p] - shift], weights[p]
        for j in range(width):
            out[j] += va * a[j]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def adam(weight, gradient, first, second, rate, correction, constants):
    """One Adam step of a vector, as torch.optim.Adam: rate = lr / (1 - b1^t), correction = 1 / sqrt(1 - b2^t).

    `constants` are b1, 1 - b1, b2, 1 - b2 and epsilon in the vector's dtype: a mixed one would be computed in float64.
    """
    keep1, take1, keep2, take2, epsilon = constants
    for j in range(weight.shape[0]):
        g = gradient[j]
        m = keep1 * first[j] + take1 * g
        v = keep2 * second[j] + take2 * g * g
        first[j] = m
        second[j] = v
        weight[j] -= rate * m / (math.sqrt(v) * correction + epsilon)


@njit(nogil=True, cache=True, fastmath=FAST)
def update_latents(
    low, high, offsets, rows, values, gradients, error, inputs, weights, firsts, seconds, touched, bias_part, adam_args
):
    """Latents low..high-1: gradients of encoder row, decoder row and bias; then their optimiser step, in one pass.

    The gradients live in two rows of cache and are never written out. Of the decoder's gradient the component along
    its (unit) row is removed, and the row is renormalised after the step, as in sparsify.

    Args:
        offsets, rows, values, gradients: entries sorted by latent; rows >= len(inputs) point into the second half of
            `error` (the auxiliary loss) and, less len(inputs), into `inputs`.
        error: (rows or 2 rows, d); `inputs` (rows, d) is x - decoder_bias.
        weights, firsts, seconds: tuples (encoder, decoder, encoder_bias) of parameters and Adam's moments, updated.
        touched: (n_latents,) whether a latent ever had a gradient: else its moments are 0 and it does not move.
        bias_part: (d,) written: sum over these latents of bias gradient * encoder row, before the step.
    """
    encoder, decoder, bias = weights
    rate, correction, constants = adam_args
    n_rows, width = inputs.shape
    encoder_gradient = np.empty(width, inputs.dtype)
    decoder_gradient = np.empty(width, inputs.dtype)
    bias_gradient = np.zeros(1, inputs.dtype)
    zero = bias_gradient[0]
    bias_part[:] = zero
    for latent in range(low, high):
        first, last = offsets[latent], offsets[latent + 1]
        if first == last and not touched[latent]:
            continue
        touched[latent] = True
        encoder_gradient[:] = zero
        decoder_gradient[:] = zero
        border = first
        while border < last and rows[border] < n_rows:
            border += 1
        add_rows(decoder_gradient, error, rows, values, first, last, 0)
        add_rows(encoder_gradient, inputs, rows, gradients, first, border, 0)
        add_rows(encoder_gradient, inputs, rows, gradients, border, last, n_rows)
        total = zero
        for p in range(first, last):
            total += gradients[p]
        bias_gradient[0] = total
        encoder_row, decoder_row = encoder[latent], decoder[latent]
        along = dot(decoder_gradient, decoder_row, zero)
        for j in range(width):
            decoder_gradient[j] -= along * decoder_row[j]
            bias_part[j] += bias_gradient[0] * encoder_row[j]
        adam(encoder_row, encoder_gradient, firsts[0][latent], seconds[0][latent], rate, correction, constants)
        adam(decoder_row, decoder_gradient, firsts[1][latent], seconds[1][latent], rate, correction, constants)
        one = slice(latent, latent + 1)
        adam(bias[one], bias_gradient, firsts[2][one], seconds[2][one], rate, correction, constants)
        norm = math.sqrt(dot(decoder_row, decoder_row, zero))
        for j in range(width):
            decoder_row[j] /= norm
