"""Kernels of a sparse training step on a CPU. Each call runs on one thread.

Firing latents are stored as flat lists: the entries of row r are at `starts[r] : starts[r] + counts[r]` of `index` and
`value`. Every kernel takes a range of rows or latents, writes nothing outside it, and adds in an order that does not
depend on the range. So results do not depend on how threads share the work.

`contract` and `reassoc` allow fused multiply-adds and several partial sums. The compiler fixes which ones, so the same
machine type gives the same bits. Flags that assume that there is no NaN or infinity are not used: a NaN must reach the
loss.

A loop over an index that could be negative must not both sum and write. The compiled code would test at run time
whether the written array overlaps the array that it reads, or the memory behind that array, and if so add in another
order. What lies in that memory is random.
"""

import math

import numpy as np

from sae_stability.compiled import cached_njit

FAST = {"contract", "reassoc", "nsz"}
SPAN = 16  # most latents in a span; spans are searched only if their maximum is large enough
TURN = 32  # values that one iteration of a vectorised loop processes


@cached_njit(nogil=True, fastmath=FAST)
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


def variance(squares, column_sums, rows):
    """sum ||x - mean(x)||^2 of `rows` rows, from the results of `centre` on parts of them.

    It is computed from x - decoder_bias, which has the same variance and is better conditioned. NaN if a row is not
    finite.

    Args:
        squares: (parts,) sums of squares. column_sums: (parts, d).
    """
    with np.errstate(invalid="ignore"):
        return float(squares.sum() - (column_sums.sum(axis=0) ** 2).sum() / rows)


@cached_njit(nogil=True)
def _reaching(values, n, threshold):
    """Number of values[:n] that are not below the threshold. NaN counts."""
    count = np.int32(0)
    for i in range(n):
        count += np.int32(not values[i] < threshold)
    return count


@cached_njit(nogil=True)
def _cut(values, n, k, above):
    """Two numbers low <= high that separate the k largest of values[:n] from the rest, found by bisection.

    At most k values reach `high`; the others of the k largest, if any, equal `low`. More than k values must be
    positive, and only NaN may reach `above`. Counting has no branches to mispredict and works on whole vectors, so on a
    few dozen values it is faster than sorting.
    """
    low, high = values.dtype.type(0), above
    while True:
        middle = values.dtype.type(low + (high - low) * 0.5)
        if not low < middle < high:
            return low, high
        reached = _reaching(values, n, middle)
        if reached == k:
            return middle, middle
        if reached > k:
            low = middle
        else:
            high = middle


@cached_njit(nogil=True)
def _span_maxima(scores, span, maxima):
    """The maximum of each span. Span s has every len(maxima)-th latent from s on, so whole vectors are compared.

    Scores and maxima are the bits of floats read as integers: positive floats keep their order, negative ones stay
    below them. The compiler vectorises maxima of integers only.
    """
    n_spans = len(maxima)
    for s in range(n_spans):
        maxima[s] = scores[s]
    for t in range(1, span):
        part = scores[t * n_spans : (t + 1) * n_spans]
        for s in range(n_spans):
            maxima[s] = max(part[s], maxima[s])


@cached_njit(nogil=True)
def select(pre, bits, bias, k, starts, counts, index, value):
    """The k largest positive entries of each row of pre + bias. Ties go to the lower index.

    If the maxima of k spans reach a floor, at least k entries reach it, and entries below it are not among the k
    largest. So only the few spans whose maximum reaches the floor are searched; the rest of the row is read once.

    Args:
        pre: (rows, n_latents); the bias is added in place. bits: the same memory as integers.
        bias: (n_latents,).
        k: at most n_latents.
        starts: (rows,) where each row's entries begin, with room for k.
        counts: (rows,) written: number of entries; fewer than k if fewer are positive.
        index, value: flat lists, written; the indices of a row ascend.
    """
    n_latents = pre.shape[1]
    span = max(1, min(SPAN, n_latents // (4 * k)))
    n_spans = n_latents // span
    bit_maxima = np.zeros(_padded(n_spans), bits.dtype)
    maxima = bit_maxima.view(pre.dtype)
    scratch = np.empty(_padded(n_latents + 1), pre.dtype)
    found = np.empty(n_latents + 1, np.int32)
    spans = np.empty(n_spans + 1, np.int32)
    limit = np.full(1, np.inf, pre.dtype)
    limit_bits = limit.view(bits.dtype)
    infinity = limit_bits[0]
    zero = pre.dtype.type(0)
    for row in range(pre.shape[0]):
        scores = pre[row]
        for j in range(n_latents):
            scores[j] += bias[j]
        _span_maxima(bits[row], span, bit_maxima[:n_spans])
        highest, positive = bits.dtype.type(0), np.int32(0)
        for s in range(n_spans):
            highest = max(highest, bit_maxima[s])
            positive += np.int32(bit_maxima[s] > 0)
        for j in range(span * n_spans, n_latents):
            highest = max(highest, bits[row, j])
        limit_bits[0] = min(highest + 1, infinity)
        floor = zero
        if positive > k:
            floor = _cut(maxima, len(maxima), k, limit[0])[0]
        n_reached = 0
        for s in range(n_spans):
            spans[n_reached] = s
            n_reached += not maxima[s] < floor
        n_found = 0
        for t in range(span):
            for i in range(n_reached):
                j = t * n_spans + spans[i]
                found[n_found] = j
                scratch[n_found] = scores[j]
                n_found += not (scores[j] < floor or scores[j] <= zero)
        for j in range(span * n_spans, n_latents):
            found[n_found] = j
            scratch[n_found] = scores[j]
            n_found += not (scores[j] < floor or scores[j] <= zero)
        counts[row] = _keep_largest(scratch, found, n_found, k, limit[0], index, value, starts[row])


@cached_njit(nogil=True)
def _padded(n):
    """n rounded up to whole iterations of a vectorised loop, which would process a remainder one by one."""
    return -(-n // TURN) * TURN


@cached_njit(nogil=True)
def _keep_largest(scores, found, n_found, k, above, index, value, start):
    """Write the k largest of the candidates found[:n_found] with scores[:n_found] at `start`. Returns their number."""
    if n_found <= k:
        for i in range(n_found):
            index[start + i] = found[i]
            value[start + i] = scores[i]
        return n_found
    padded = _padded(n_found)
    scores[n_found:padded] = 0
    low, high = _cut(scores, padded, k, above)
    ties = k - _reaching(scores, padded, high)
    at = start
    for i in range(n_found):
        tie = scores[i] == low and ties > 0 and low < high
        ties -= tie
        if (tie or not scores[i] < high) and at < start + k:
            index[at] = found[i]
            value[at] = scores[i]
            at += 1
    return at - start


@cached_njit(nogil=True, fastmath=FAST)
def dot(a, b, zero):
    """a . b. `zero`, a zero of the same dtype, keeps the sum in that dtype."""
    for j in range(a.shape[0]):
        zero += a[j] * b[j]
    return zero


@cached_njit(nogil=True, fastmath=FAST)
def evaluate(inputs, encoder, bias, starts, counts, index, value):
    """Recompute each entry's value, inputs[row] . encoder[index] + bias, and drop entries that are not positive."""
    zero = np.zeros(1, inputs.dtype)[0]
    for row in range(inputs.shape[0]):
        at = starts[row]
        for p in range(starts[row], starts[row] + counts[row]):
            score = dot(inputs[row], encoder[index[p]], bias[index[p]] + zero)
            if not score <= zero:
                index[at] = index[p]
                value[at] = score
                at += 1
        counts[row] = at - starts[row]


@cached_njit(nogil=True, fastmath=FAST)
def decode(target, decoder, starts, counts, index, value, error, value_gradient, row_loss, error_sum):
    """For each row: error = decoder^T latents - target, and its product with the decoder row of each entry.

    Args:
        target: (rows, d) what the latents should reconstruct.
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


@cached_njit(nogil=True)
def count_by_latent(starts, counts, index, offsets):
    """offsets[i + 1] += number of entries of latent i."""
    for row in range(starts.shape[0]):
        for p in range(starts[row], starts[row] + counts[row]):
            offsets[index[p] + 1] += 1


@cached_njit(nogil=True)
def sort_by_latent(starts, counts, index, value, value_gradient, scale, row_shift, cursor, rows, values, gradients):
    """Counting sort of the entries by latent, then by row. Multiplies values and gradients by `scale`.

    Args:
        row_shift: added to the row numbers.
        cursor: (n_latents,) where the next entry of each latent goes, updated.
        rows, values, gradients: the sorted lists, written.
    """
    for row in range(starts.shape[0]):
        for p in range(starts[row], starts[row] + counts[row]):
            at = cursor[index[p]]
            cursor[index[p]] = at + 1
            rows[at] = row + row_shift
            values[at] = value[p] * scale
            gradients[at] = value_gradient[p] * scale


@cached_njit(nogil=True, fastmath=FAST)
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


@cached_njit(nogil=True, fastmath=FAST, error_model="numpy")
def adam(weight, gradient, first, second, rate, correction, constants):
    """One Adam step of a vector, as in torch.optim.Adam: rate = lr / (1 - b1^t), correction = 1 / sqrt(1 - b2^t).

    `constants` are b1, 1 - b1, b2, 1 - b2 and epsilon in the vector's dtype; mixed dtypes would compute in float64.
    """
    keep1, take1, keep2, take2, epsilon = constants
    for j in range(weight.shape[0]):
        g = gradient[j]
        m = keep1 * first[j] + take1 * g
        v = keep2 * second[j] + take2 * g * g
        first[j] = m
        second[j] = v
        weight[j] -= rate * m / (math.sqrt(v) * correction + epsilon)


@cached_njit(nogil=True, fastmath=FAST)
def update_latents(
    low,
    high,
    offsets,
    rows,
    values,
    gradients,
    error,
    inputs,
    weights,
    firsts,
    seconds,
    touched,
    block,
    bias_parts,
    adam_args,
):
    """For latents low..high-1: gradients of encoder row, decoder row and bias, and their Adam step, in one pass.

    The gradients stay in two cached rows and are never stored. The component of the decoder's gradient along its unit
    row is removed, and the row is renormalised after the step, as in sparsify.

    Args:
        offsets, rows, values, gradients: entries sorted by latent. Rows >= len(inputs) belong to AuxK: they index the
            second half of `error`, and row - len(inputs) indexes `inputs`.
        error: (rows or 2 rows, d). inputs: (rows, d) x - decoder_bias.
        weights, firsts, seconds: tuples (encoder, decoder, encoder_bias) of parameters and Adam's moments, updated.
        touched: (n_latents,) whether a latent ever had a gradient. If not, its moments are 0 and it does not change.
        bias_parts: (blocks, d) written: sum of bias gradient * encoder row, before the step, over each block of
            `block` latents. `low` and `high` must be borders of blocks.
    """
    encoder, decoder, bias = weights
    rate, correction, constants = adam_args
    n_rows, width = inputs.shape
    encoder_gradient = np.empty(width, inputs.dtype)
    decoder_gradient = np.empty(width, inputs.dtype)
    bias_gradient = np.zeros(1, inputs.dtype)
    zero = bias_gradient[0]
    for latent in range(low, high):
        bias_part = bias_parts[latent // block]
        if latent % block == 0:
            bias_part[:] = zero
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
