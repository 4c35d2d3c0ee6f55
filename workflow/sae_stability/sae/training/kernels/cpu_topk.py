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
SPAN = 16  # most latents in a span, whose maximum is looked at first
TURN = 32  # numbers that one turn of a vectorised loop takes


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


def variance(squares, column_sums, rows):
    """sum ||x - mean(x)||^2 of `rows` rows, from what `centre` gave for parts of them: (parts,) and (parts, d).

    x - decoder_bias has the same, and is better conditioned. NaN where a row is not finite.
    """
    with np.errstate(invalid="ignore"):
        return float(squares.sum() - (column_sums.sum(axis=0) ** 2).sum() / rows)


@njit(nogil=True, cache=True)
def _reaching(values, n, threshold):
    """How many of values[:n] are not below the threshold; NaN is not."""
    count = np.int32(0)
    for i in range(n):
        count += np.int32(not values[i] < threshold)
    return count


@njit(nogil=True, cache=True)
def _cut(values, n, k, above):
    """Two numbers low <= high that part the k largest of values[:n] from the rest, by bisection.

    At most k values reach `high`; the rest of the k largest, if any, equal `low`. More than k values must be positive,
    and none but NaN reach `above`. Counting has no branches to mispredict and works on whole vectors: on a few dozen
    values it beats any sorting.
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


@njit(nogil=True, cache=True)
def _span_maxima(scores, span, maxima):
    """The maximum of each span; span s is every len(maxima)-th latent from s, so whole vectors are compared.

    Both are bit patterns of floats read as integers: positive ones sort alike, negative ones stay below them, and the
    compiler makes vector operations of integer maxima only.
    """
    n_spans = len(maxima)
    for s in range(n_spans):
        maxima[s] = scores[s]
    for t in range(1, span):
        part = scores[t * n_spans : (t + 1) * n_spans]
        for s in range(n_spans):
            maxima[s] = max(part[s], maxima[s])


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


@njit(nogil=True, cache=True)
def _padded(n):
    """n, up to whole turns of a vectorised loop: what is left over would be done one by one."""
    return -(-n // TURN) * TURN


@njit(nogil=True, cache=True)
def _keep_largest(scores, found, n_found, k, above, index, value, start):
    """Write the k best candidates, latents found[:n_found] with scores[:n_found], at `start`; returns how many."""
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


@njit(nogil=True, cache=True, fastmath=FAST)
def dot(a, b, zero):
    """a . b; `zero` of their dtype keeps the sum in it."""
    for j in range(a.shape[0]):
        zero += a[j] * b[j]
    return zero


@njit(nogil=True, cache=True, fastmath=FAST)
def evaluate(inputs, encoder, bias, starts, counts, index, value):
    """Value of each entry again, inputs[row] . encoder[index] + bias; entries that are not positive are left out."""
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
    """Latents low..high-1: gradients of encoder row, decoder row and bias; then their optimiser step, in one pass.

    The gradients live in two rows of cache and are never written out. Of the decoder's gradient the component along
    its (unit) row is removed, and the row is renormalised after the step, as in sparsify.

    Args:
        offsets, rows, values, gradients: entries sorted by latent; rows >= len(inputs) point into the second half of
            `error` (the auxiliary loss) and, less len(inputs), into `inputs`.
        error: (rows or 2 rows, d); `inputs` (rows, d) is x - decoder_bias.
        weights, firsts, seconds: tuples (encoder, decoder, encoder_bias) of parameters and Adam's moments, updated.
        touched: (n_latents,) whether a latent ever had a gradient: else its moments are 0 and it does not move.
        bias_parts: (blocks, d) written: for every `block` latents, sum of bias gradient * encoder row, before the step.
            `low` and `high` are borders of blocks.
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
