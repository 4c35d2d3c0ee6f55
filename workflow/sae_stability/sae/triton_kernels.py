"""The arithmetic of a sparse step on a GPU, in Triton; `triton_step` puts it together.

No kernel adds with atomics: every sum runs in an order that the data alone decide, so the same device gives the same
bits. Sums, parameters and moments are float32; what kernels read in bulk (pre-activations, decoder rows, inputs,
errors) may be bfloat16.

The entries of a row are k slots of `index` (int32) and `value`, latents ascending; slots that nothing fills hold
index n_latents and value 0. With TRITON_INTERPRET=1, set before this module is imported, all of it runs on a CPU.
"""

import torch
import triton
import triton.language as tl

from sae_stability.sae.step import BETA1, BETA2, EPSILON

SPAN = 128  # entries by latent that are summed apart where all are one latent's
LATENTS = 8  # latents that one program updates


@triton.jit
def _decode(
    target,
    decoder,
    index,
    value,
    error,
    gradient,
    loss,
    n_latents,
    k,
    d_model,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """See `decode`. Grid: (rows,)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    across = column < d_model
    left = -tl.load(target + row * d_model + column, mask=across, other=0.0).to(tl.float32)
    for first in range(0, k, SLOTS):
        slot = first + tl.arange(0, SLOTS)
        latent = tl.load(index + row * k + slot, mask=slot < k, other=n_latents).to(tl.int64)
        fires = latent < n_latents
        weight = tl.load(value + row * k + slot, mask=fires, other=0.0)
        place = latent[:, None] * d_model + column[None, :]
        rows = tl.load(decoder + place, mask=fires[:, None] & across[None, :], other=0.0).to(tl.float32)
        left += tl.sum(rows * weight[:, None], axis=0)
    tl.store(error + row * d_model + column, left.to(error.dtype.element_ty), mask=across)
    tl.store(loss + row, tl.sum(left * left, axis=0))
    for first in range(0, k, SLOTS):
        slot = first + tl.arange(0, SLOTS)
        latent = tl.load(index + row * k + slot, mask=slot < k, other=n_latents).to(tl.int64)
        place = latent[:, None] * d_model + column[None, :]
        fires = latent < n_latents
        rows = tl.load(decoder + place, mask=fires[:, None] & across[None, :], other=0.0).to(tl.float32)
        tl.store(gradient + row * k + slot, tl.sum(rows * left[None, :], axis=1), mask=slot < k)


def decode(
    target: torch.Tensor, decoder: torch.Tensor, index: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a row's entries add up to, less the target, and what follows from it, in one pass over the row.

    Args:
        target: (rows, d_model). decoder: (n_latents, d_model); index, value: (rows, k), see the module.

    Returns:
        error (rows, d_model), of the decoder's dtype: sum of value * decoder[index] - target.
        gradient (rows, k): error . decoder[index], half the squared error's gradient for `value`.
        loss (rows,): sum of error ** 2.
    """
    (rows, d_model), k = target.shape, index.shape[1]
    error = torch.empty((rows, d_model), dtype=decoder.dtype, device=target.device)
    gradient = torch.empty((rows, k), dtype=torch.float32, device=target.device)
    loss = torch.empty(rows, dtype=torch.float32, device=target.device)
    given = (target, decoder, index, value, error, gradient, loss, len(decoder), k, d_model)
    _decode[(rows,)](*given, **_tile(d_model, 8192, k))
    return error, gradient, loss


def _tile(d_model: int, numbers: int, most: int) -> dict[str, int]:
    """Whole rows of about `numbers` numbers in all that a program gathers at once, and its warps."""
    width = triton.next_power_of_2(d_model)
    slots = max(1, min(numbers // width, triton.next_power_of_2(most)))
    return {"SLOTS": slots, "WIDTH": width, "num_warps": 4 if width <= 1024 else 8}


@triton.jit
def _sums(
    first, last, order, rows, value, gradient, error, inputs, n_rows, d_model, SLOTS: tl.constexpr, WIDTH: tl.constexpr
):
    """Sums over entries order[first:last] of value * error row, gradient * input row, and gradient."""
    column = tl.arange(0, WIDTH)
    of_decoder = tl.zeros([WIDTH], tl.float32)
    of_encoder = tl.zeros([WIDTH], tl.float32)
    of_bias = tl.zeros([SLOTS], tl.float32)
    for start in range(first, last, SLOTS):
        place = start + tl.arange(0, SLOTS)
        inside = place < last
        entry = tl.load(order + place, mask=inside, other=0)
        row = tl.load(rows + entry, mask=inside, other=0).to(tl.int64)
        v = tl.load(value + entry, mask=inside, other=0.0)
        g = tl.load(gradient + entry, mask=inside, other=0.0)
        both = inside[:, None] & (column < d_model)[None, :]
        e = tl.load(error + row[:, None] * d_model + column[None, :], mask=both, other=0.0).to(tl.float32)
        input_row = tl.where(row < n_rows, row, row - n_rows)
        x = tl.load(inputs + input_row[:, None] * d_model + column[None, :], mask=both, other=0.0).to(tl.float32)
        of_decoder += tl.sum(e * v[:, None], axis=0)
        of_encoder += tl.sum(x * g[:, None], axis=0)
        of_bias += g
    return of_decoder, of_encoder, tl.sum(of_bias, axis=0)


@triton.jit
def _span_sums(
    latents,
    order,
    rows,
    value,
    gradient,
    error,
    inputs,
    spans,
    span_bias,
    n_rows,
    n_latents,
    d_model,
    SPAN: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """`_sums` of entries program * SPAN and following, where all are of one latent; else nothing."""
    span = tl.program_id(0)
    first = span * SPAN
    latent = tl.load(latents + first)
    if (latent < n_latents) & (latent == tl.load(latents + first + SPAN - 1)):
        of_decoder, of_encoder, of_bias = _sums(
            first, first + SPAN, order, rows, value, gradient, error, inputs, n_rows, d_model, SLOTS, WIDTH
        )
        column = tl.arange(0, WIDTH)
        out = spans + tl.cast(span, tl.int64) * 2 * d_model + column
        tl.store(out, of_decoder, mask=column < d_model)
        tl.store(out + d_model, of_encoder, mask=column < d_model)
        tl.store(span_bias + span, of_bias)


@triton.jit
def _adam(
    weight, first, second, gradient, mask, rate, correction, B1: tl.constexpr, B2: tl.constexpr, EPS: tl.constexpr
):
    """The weights after one Adam step; moments are written."""
    m = B1 * tl.load(first, mask=mask, other=0.0) + (1 - B1) * gradient
    v = B2 * tl.load(second, mask=mask, other=0.0) + (1 - B2) * gradient * gradient
    tl.store(first, m, mask=mask)
    tl.store(second, v, mask=mask)
    return tl.load(weight, mask=mask, other=0.0) - rate * m / (tl.sqrt(v) * correction + EPS)


@triton.jit
def _update_latents(
    offsets,
    order,
    rows,
    value,
    gradient,
    error,
    inputs,
    spans,
    span_bias,
    scale,
    silent,
    encoder,
    decoder,
    bias,
    encoder_first,
    decoder_first,
    bias_first,
    encoder_second,
    decoder_second,
    bias_second,
    encoder_copy,
    decoder_copy,
    bias_parts,
    rate,
    correction,
    n_rows,
    n_latents,
    n_main,
    d_model,
    COPY: tl.constexpr,
    SPAN: tl.constexpr,
    LATENTS: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
    EPS: tl.constexpr,
):
    """See `update_latents`. Grid: (blocks of LATENTS latents,)."""
    column = tl.arange(0, WIDTH)
    across = column < d_model
    factor = tl.load(scale)
    bias_part = tl.zeros([WIDTH], tl.float32)
    low = tl.program_id(0) * LATENTS
    # Where the loss was not finite, nothing is overwritten.
    high = tl.where(factor == factor, tl.minimum(low + LATENTS, n_latents), low)
    for latent in range(low, high):
        first = tl.load(offsets + latent)
        last = tl.load(offsets + latent + 1)
        head = tl.minimum(last, (first + SPAN - 1) // SPAN * SPAN)
        tail = tl.maximum(head, last // SPAN * SPAN)
        of_decoder, of_encoder, of_bias = _sums(
            first, head, order, rows, value, gradient, error, inputs, n_rows, d_model, SLOTS, WIDTH
        )
        for span in range(head // SPAN, tail // SPAN):
            part = spans + tl.cast(span, tl.int64) * 2 * d_model + column
            of_decoder += tl.load(part, mask=across, other=0.0)
            of_encoder += tl.load(part + d_model, mask=across, other=0.0)
            of_bias += tl.load(span_bias + span)
        more_decoder, more_encoder, more_bias = _sums(
            tail, last, order, rows, value, gradient, error, inputs, n_rows, d_model, SLOTS, WIDTH
        )
        of_decoder = (of_decoder + more_decoder) * factor
        of_encoder = (of_encoder + more_encoder) * factor
        of_bias += more_bias

        at = tl.cast(latent, tl.int64) * d_model + column
        bias_part += of_bias * tl.load(encoder + at, mask=across, other=0.0)
        new = _adam(
            encoder + at, encoder_first + at, encoder_second + at, of_encoder, across, rate, correction, B1, B2, EPS
        )
        tl.store(encoder + at, new, mask=across)
        if COPY:
            tl.store(encoder_copy + at, new.to(tl.bfloat16), mask=across)

        row = tl.load(decoder + at, mask=across, other=0.0)
        of_decoder -= tl.sum(of_decoder * row, axis=0) * row
        new = _adam(
            decoder + at, decoder_first + at, decoder_second + at, of_decoder, across, rate, correction, B1, B2, EPS
        )
        new = new / tl.sqrt(tl.sum(new * new, axis=0))
        tl.store(decoder + at, new, mask=across)
        if COPY:
            tl.store(decoder_copy + at, new.to(tl.bfloat16), mask=across)

        one = tl.arange(0, 1)
        new = _adam(
            bias + latent + one,
            bias_first + latent + one,
            bias_second + latent + one,
            of_bias * factor + one * 0.0,
            one == 0,
            rate,
            correction,
            B1,
            B2,
            EPS,
        )
        tl.store(bias + latent + one, new)
        # A stable sort has the entries of the reconstruction before those of AuxK, which do not count.
        earliest = tl.load(order + first, mask=first < last, other=n_main)
        tl.store(silent + latent, tl.where(earliest < n_main, 0, tl.load(silent + latent) + n_rows))
    tl.store(bias_parts + tl.program_id(0).to(tl.int64) * d_model + column, bias_part, mask=across)


def update_latents(
    index: torch.Tensor,
    rows: torch.Tensor,
    value: torch.Tensor,
    gradient: torch.Tensor,
    error: torch.Tensor,
    inputs: torch.Tensor,
    scale: torch.Tensor,
    silent: torch.Tensor,
    parameters: dict[str, torch.Tensor],
    first: dict[str, torch.Tensor],
    second: dict[str, torch.Tensor],
    copies: dict[str, torch.Tensor],
    factors: tuple[float, float],
    n_main: int,
) -> torch.Tensor:
    """Gradients of encoder, decoder and encoder bias, and their Adam step, one latent at a time.

    The gradients are never written out. Of the decoder's, the component along its (unit) row is removed, and the row
    is renormalised after the step. Entries are sorted by latent; a latent with very many has them summed in spans
    first, by programs of their own.

    Args:
        index, value, gradient: (entries,), the value and its gradient before `scale`.
        rows: (entries,) int32 rows of `error`; those >= len(inputs) are AuxK's, row - len(inputs) of `inputs`.
        error: (rows or 2 rows, d_model). inputs: (rows, d_model), x - decoder_bias.
        scale: () float32 that both sums are multiplied by; NaN leaves everything as it is.
        silent: (n_latents,) activations since a latent last fired, moved on.
        parameters, first, second: encoder, decoder and encoder_bias with Adam's moments, updated.
        copies: encoder and decoder in bfloat16, written; or the parameters themselves, left alone.
        factors: from `step.adam_factors`.
        n_main: entries before this one are the reconstruction's, the others AuxK's.

    Returns:
        (blocks, d_model): sums over latents of bias gradient, without `scale`, * encoder row before the step.
    """
    (n_latents, d_model), device = parameters["encoder"].shape, error.device
    latents, order = torch.sort(index, stable=True)
    bounds = torch.arange(n_latents + 1, dtype=torch.int32, device=device)
    offsets = torch.searchsorted(latents, bounds, out_int32=True)
    n_spans = len(index) // SPAN
    spans = torch.empty((max(1, n_spans), 2, d_model), dtype=torch.float32, device=device)
    span_bias = torch.empty(max(1, n_spans), dtype=torch.float32, device=device)
    tile = {"SPAN": SPAN} | _tile(d_model, 4096, 4)
    entries = (order, rows, value, gradient, error, inputs)
    if n_spans:
        _span_sums[(n_spans,)](latents, *entries, spans, span_bias, len(inputs), n_latents, d_model, **tile)
    blocks = triton.cdiv(n_latents, LATENTS)
    bias_parts = torch.empty((blocks, d_model), dtype=torch.float32, device=device)
    names = ("encoder", "decoder", "encoder_bias")
    tensors = [tensors[name] for tensors in (parameters, first, second) for name in names]
    _update_latents[(blocks,)](
        offsets,
        *entries,
        spans,
        span_bias,
        scale,
        silent,
        *tensors,
        copies["encoder"],
        copies["decoder"],
        bias_parts,
        *factors,
        len(inputs),
        n_latents,
        n_main,
        d_model,
        COPY=copies["encoder"].dtype == torch.bfloat16,
        LATENTS=LATENTS,
        B1=BETA1,
        B2=BETA2,
        EPS=EPSILON,
        **tile,
    )
    return bias_parts


@triton.jit
def _adam_vector(
    weight,
    first,
    second,
    gradient,
    scale,
    size,
    rate,
    correction,
    BLOCK: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
    EPS: tl.constexpr,
):
    """See `adam`. Grid: (blocks of BLOCK numbers,)."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    factor = tl.load(scale + place * 0)
    mask = (place < size) & (factor == factor)
    g = tl.load(gradient + place, mask=mask, other=0.0) * factor
    new = _adam(weight + place, first + place, second + place, g, mask, rate, correction, B1, B2, EPS)
    tl.store(weight + place, new, mask=mask)


def adam(weight, first, second, gradient: torch.Tensor, scale: torch.Tensor, rate: float, correction: float) -> None:
    """One Adam step of a tensor in place for gradient * scale; `scale` and factors as in `update_latents`."""
    sizes = {"BLOCK": 1024, "B1": BETA1, "B2": BETA2, "EPS": EPSILON}
    grid = (triton.cdiv(weight.numel(), sizes["BLOCK"]),)
    given = (weight, first, second, gradient.contiguous(), scale, weight.numel())
    _adam_vector[grid](*given, rate, correction, **sizes)


@triton.jit
def _dots(error, decoder, rows, latents, out, size, d_model, SLOTS: tl.constexpr, WIDTH: tl.constexpr):
    """See `dots`. Grid: (blocks of SLOTS entries,)."""
    entry = tl.program_id(0).to(tl.int64) * SLOTS + tl.arange(0, SLOTS)
    column = tl.arange(0, WIDTH)
    inside = entry < size
    row = tl.load(rows + entry, mask=inside, other=0).to(tl.int64)
    latent = tl.load(latents + entry, mask=inside, other=0).to(tl.int64)
    both = inside[:, None] & (column < d_model)[None, :]
    e = tl.load(error + row[:, None] * d_model + column[None, :], mask=both, other=0.0)
    w = tl.load(decoder + latent[:, None] * d_model + column[None, :], mask=both, other=0.0)
    tl.store(out + entry, tl.sum(e * w, axis=1), mask=inside)


def dots(error: torch.Tensor, decoder: torch.Tensor, rows: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """(entries,): error[row] . decoder[latent] of each entry; both matrices (any, d_model) float32."""
    out = torch.empty(len(rows), dtype=torch.float32, device=error.device)
    if len(rows):
        tile = _tile(error.shape[1], 4096, 4)
        grid = (triton.cdiv(len(rows), tile["SLOTS"]),)
        _dots[grid](error.contiguous(), decoder, rows, latents, out, len(rows), error.shape[1], **tile)
    return out
