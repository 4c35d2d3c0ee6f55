"""Triton kernels for the latents' gradients and Adam step on a GPU. `triton_sparse` defines the layout of entries.

Gradients are never stored: a program sums a latent's rows and updates its parameters at once. Encoder and decoder have
separate kernels, because a program for both needs so many registers that too few programs run at a time.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from sae_stability.sae.training.kernels.adam import BETA1, BETA2, EPSILON
from sae_stability.sae.training.kernels.triton_sparse import adam_step, warps

SPAN = 128  # entries sorted by latent; spans with entries of one latent only are summed by their own program
LATENTS = 8  # latents that one program updates
MOST_GATHERED = 4096  # values of error or input rows that a program gathers at a time


class LatentTensors(NamedTuple):
    """Encoder and decoder (n_latents, d_model) and encoder bias (n_latents,): the parameters, or a moment of Adam."""

    encoder: torch.Tensor
    decoder: torch.Tensor
    encoder_bias: torch.Tensor


@triton.jit
def _arrange(order, rows, value, gradient, out_rows, out_value, out_gradient, size, BLOCK: tl.constexpr):
    """Rows, values and gradients sorted by latent. Grid: (blocks of entries,)."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    entry = tl.load(order + place, mask=inside, other=0)
    tl.store(out_rows + place, tl.load(rows + entry, mask=inside, other=0), mask=inside)
    tl.store(out_value + place, tl.load(value + entry, mask=inside, other=0.0), mask=inside)
    tl.store(out_gradient + place, tl.load(gradient + entry, mask=inside, other=0.0), mask=inside)


@triton.jit
def _sums(first, last, rows, weights, matrix, n_rows, d_model, SLOTS: tl.constexpr, WIDTH: tl.constexpr):
    """Sum of weight * matrix row, and sum of weights, over the entries [first, last)."""
    column = tl.arange(0, WIDTH)
    total = tl.zeros([WIDTH], tl.float32)
    of_weights = tl.zeros([SLOTS], tl.float32)
    for start in range(first, last, SLOTS):
        place = start + tl.arange(0, SLOTS)
        inside = place < last
        row = tl.load(rows + place, mask=inside, other=0)
        row = tl.where(row < n_rows, row, row - n_rows).to(tl.int64)
        weight = tl.load(weights + place, mask=inside, other=0.0)
        both = inside[:, None] & (column < d_model)[None, :]
        # Keep the rows in the cache: they are read many times, the parameters only once.
        values = tl.load(
            matrix + row[:, None] * d_model + column[None, :], mask=both, other=0.0, eviction_policy="evict_last"
        )
        total += tl.sum(values.to(tl.float32) * weight[:, None], axis=0)
        of_weights += weight
    return total, tl.sum(of_weights, axis=0)


@triton.jit
def _span_sums(
    latents,
    rows,
    weights,
    matrix,
    spans,
    span_weights,
    n_rows,
    n_latents,
    d_model,
    SPAN: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """`_sums` of each span of SPAN entries, if all its entries are of one latent; else nothing. Grid: (spans,)."""
    span = tl.program_id(0)
    first = span * SPAN
    latent = tl.load(latents + first)
    if (latent < n_latents) & (latent == tl.load(latents + first + SPAN - 1)):
        total, of_weights = _sums(first, first + SPAN, rows, weights, matrix, n_rows, d_model, SLOTS, WIDTH)
        column = tl.arange(0, WIDTH)
        tl.store(spans + tl.cast(span, tl.int64) * d_model + column, total, mask=column < d_model)
        tl.store(span_weights + span, of_weights)


@triton.jit
def _latent_sums(
    first,
    last,
    rows,
    weights,
    matrix,
    spans,
    span_weights,
    n_rows,
    d_model,
    SPAN: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """`_sums` of a latent's entries [first, last), taking whole spans from `_span_sums`."""
    column = tl.arange(0, WIDTH)
    head = tl.minimum(last, (first + SPAN - 1) // SPAN * SPAN)
    tail = tl.maximum(head, last // SPAN * SPAN)
    total, of_weights = _sums(first, head, rows, weights, matrix, n_rows, d_model, SLOTS, WIDTH)
    for span in range(head // SPAN, tail // SPAN):
        part = spans + tl.cast(span, tl.int64) * d_model + column
        total += tl.load(part, mask=column < d_model, other=0.0)
        of_weights += tl.load(span_weights + span)
    more, of_more = _sums(tail, last, rows, weights, matrix, n_rows, d_model, SLOTS, WIDTH)
    return total + more, of_weights + of_more


@triton.jit
def _update_encoder(
    offsets,
    order,
    rows,
    weights,
    matrix,
    spans,
    span_weights,
    scale,
    factors,
    encoder,
    encoder_first,
    encoder_second,
    copy,
    bias,
    bias_first,
    bias_second,
    bias_parts,
    silent,
    n_rows,
    n_latents,
    n_main,
    d_model,
    COPY: tl.constexpr,
    LATENTS: tl.constexpr,
    SPAN: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
    EPS: tl.constexpr,
):
    """Update encoder, its bias and `silent`, and write `bias_parts`. Grid: (blocks of LATENTS latents,)."""
    column = tl.arange(0, WIDTH)
    across = column < d_model
    factor, rate, correction = tl.load(scale), tl.load(factors), tl.load(factors + 1)
    bias_part = tl.zeros([WIDTH], tl.float32)
    low = tl.program_id(0) * LATENTS
    # If the loss was not finite, `factor` is NaN: update nothing.
    high = tl.where(factor == factor, tl.minimum(low + LATENTS, n_latents), low)
    for latent in range(low, high):
        first, last = tl.load(offsets + latent), tl.load(offsets + latent + 1)
        total, of_bias = _latent_sums(
            first, last, rows, weights, matrix, spans, span_weights, n_rows, d_model, SPAN, SLOTS, WIDTH
        )
        at = tl.cast(latent, tl.int64) * d_model + column
        bias_part += of_bias * tl.load(encoder + at, mask=across, other=0.0)
        new = adam_step(
            encoder + at, encoder_first + at, encoder_second + at, total * factor, across, rate, correction, B1, B2, EPS
        )
        tl.store(encoder + at, new, mask=across)
        if COPY:
            tl.store(copy + at, new.to(tl.bfloat16), mask=across)
        one = tl.arange(0, 1)
        new = adam_step(
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
        # The sort is stable, so entries of the reconstruction precede those of AuxK, which do not count as firing.
        earliest = tl.load(order + first, mask=first < last, other=n_main)
        tl.store(silent + latent, tl.where(earliest < n_main, 0, tl.load(silent + latent) + n_rows))
    tl.store(bias_parts + tl.program_id(0).to(tl.int64) * d_model + column, bias_part, mask=across)


@triton.jit
def _update_decoder(
    offsets,
    rows,
    weights,
    matrix,
    spans,
    span_weights,
    scale,
    factors,
    decoder,
    decoder_first,
    decoder_second,
    copy,
    n_rows,
    n_latents,
    d_model,
    COPY: tl.constexpr,
    LATENTS: tl.constexpr,
    SPAN: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
    EPS: tl.constexpr,
):
    """Update the decoder. Grid: (blocks of LATENTS latents,)."""
    column = tl.arange(0, WIDTH)
    across = column < d_model
    factor, rate, correction = tl.load(scale), tl.load(factors), tl.load(factors + 1)
    low = tl.program_id(0) * LATENTS
    high = tl.where(factor == factor, tl.minimum(low + LATENTS, n_latents), low)
    for latent in range(low, high):
        first, last = tl.load(offsets + latent), tl.load(offsets + latent + 1)
        total, _ = _latent_sums(
            first, last, rows, weights, matrix, spans, span_weights, n_rows, d_model, SPAN, SLOTS, WIDTH
        )
        total *= factor
        at = tl.cast(latent, tl.int64) * d_model + column
        row = tl.load(decoder + at, mask=across, other=0.0)
        total -= tl.sum(total * row, axis=0) * row
        new = adam_step(
            decoder + at, decoder_first + at, decoder_second + at, total, across, rate, correction, B1, B2, EPS
        )
        new = new / tl.sqrt(tl.sum(new * new, axis=0))
        tl.store(decoder + at, new, mask=across)
        if COPY:
            tl.store(copy + at, new.to(tl.bfloat16), mask=across)


def update_latents(
    index: torch.Tensor,
    rows: torch.Tensor,
    value: torch.Tensor,
    gradient: torch.Tensor,
    error: torch.Tensor,
    inputs: torch.Tensor,
    scale: torch.Tensor,
    silent: torch.Tensor,
    parameters: LatentTensors,
    first: LatentTensors,
    second: LatentTensors,
    copies: tuple[torch.Tensor, torch.Tensor],
    factors: torch.Tensor,
    n_main: int,
) -> torch.Tensor:
    """Gradients of encoder, decoder and encoder bias, and their Adam step, one latent at a time.

    The component of the decoder's gradient along its unit row is removed, and the row is renormalised after the step.
    Entries are sorted by latent. The entries of very frequent latents are first summed in spans, by separate programs.

    Args:
        index, value, gradient: (entries,) latent, value, and gradient by the value, before `scale`.
        rows: (entries,) int32 rows of `error`. Rows >= len(inputs) belong to AuxK and to row - len(inputs) of `inputs`.
        error: (rows or 2 rows, d_model). inputs: (rows, d_model) x - decoder_bias.
        scale: () float32 factor of all gradients; NaN leaves everything unchanged.
        silent: (n_latents,) activations since each latent last fired, updated.
        parameters, first, second: the parameters and Adam's moments, updated.
        copies: encoder and decoder in bfloat16, updated; or the parameters themselves.
        factors: (2,) float32, from `triton_sparse.set_factors`.
        n_main: number of entries of the reconstruction; the entries after them are AuxK's.

    Returns:
        (blocks, d_model): sums over latents of bias gradient (without `scale`) * encoder row before the step.
    """
    (n_latents, d_model), device, size = parameters.encoder.shape, error.device, len(index)
    latents, order = torch.sort(index, stable=True)
    bounds = torch.arange(n_latents + 1, dtype=torch.int32, device=device)
    offsets = torch.searchsorted(latents, bounds, out_int32=True)
    arranged = [torch.empty_like(listed) for listed in (rows, value, gradient)]
    _arrange[(triton.cdiv(size, 1024),)](order, rows, value, gradient, *arranged, size, BLOCK=1024)
    rows, value, gradient = arranged

    n_spans = size // SPAN
    spans = torch.empty((max(1, n_spans), d_model), dtype=torch.float32, device=device)
    span_weights = torch.empty(max(1, n_spans), dtype=torch.float32, device=device)
    sizes = {"SPAN": SPAN, "WIDTH": triton.next_power_of_2(d_model), "num_warps": warps(d_model)}
    sizes["SLOTS"] = max(1, min(4, MOST_GATHERED // sizes["WIDTH"]))
    adam = {"LATENTS": LATENTS, "B1": BETA1, "B2": BETA2, "EPS": EPSILON}
    adam["COPY"] = copies[0].dtype == torch.bfloat16
    blocks = triton.cdiv(n_latents, LATENTS)
    bias_parts = torch.empty((blocks, d_model), dtype=torch.float32, device=device)

    def summed(weights: torch.Tensor, matrix: torch.Tensor) -> tuple:
        arguments = (rows, weights, matrix, spans, span_weights)
        if n_spans:
            _span_sums[(n_spans,)](latents, *arguments, len(matrix), n_latents, d_model, **sizes)
        return arguments

    encoder, decoder, bias = zip(parameters, first, second, strict=True)
    arguments = (*summed(gradient, inputs), scale, factors, *encoder, copies[0], *bias, bias_parts, silent)
    _update_encoder[(blocks,)](offsets, order, *arguments, len(inputs), n_latents, n_main, d_model, **sizes, **adam)
    arguments = (*summed(value, error), scale, factors, *decoder, copies[1])
    _update_decoder[(blocks,)](offsets, *arguments, len(error), n_latents, d_model, **sizes, **adam)
    return bias_parts
