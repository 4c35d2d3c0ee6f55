"""Triton kernels of a sparse training step on a GPU. `topk_triton` combines them.

No kernel uses atomics: the order of every sum depends only on the data, so the same device gives the same bits. Sums,
parameters and moments are float32. Large inputs of kernels (pre-activations, decoder rows, inputs, errors) may be
bfloat16.

The entries of a row are k slots of `index` (int32) and `value`, latents ascending. Empty slots hold index n_latents and
value 0. With TRITON_INTERPRET=1, set before this module is imported, everything runs on a CPU.
"""

import torch
import triton
import triton.language as tl

from sae_stability.sae.training.kernels.adam import BETA1, BETA2, EPSILON

PREPARED = 16  # rows that one program prepares
COLUMNS = 8  # columns whose variance one program sums


@triton.jit
def _prepare(
    batch,
    mean,
    bias,
    inputs,
    copy,
    means,
    squares,
    inverse,
    n_rows,
    d_model,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    COPY: tl.constexpr,
):
    """Rows of `inputs` and `copy`, their mean and squared distance from it by column. Grid: (blocks of ROWS rows,)."""
    column = tl.arange(0, WIDTH)
    across = column < d_model
    shift = tl.load(mean + column, mask=across, other=0.0)
    less = tl.load(bias + column, mask=across, other=0.0)
    low = tl.program_id(0) * ROWS
    high = tl.minimum(low + ROWS, n_rows)
    total = tl.zeros([WIDTH], tl.float32)
    for row in range(low, high):
        place = tl.cast(row, tl.int64) * d_model + column
        x = (tl.load(batch + place, mask=across, other=0.0) - shift) * inverse - less
        tl.store(inputs + place, x, mask=across)
        if COPY:
            tl.store(copy + place, x.to(tl.bfloat16), mask=across)
        total += x
    centre = total / (high - low)
    square = tl.zeros([WIDTH], tl.float32)
    for row in range(low, high):
        place = tl.cast(row, tl.int64) * d_model + column
        x = (tl.load(batch + place, mask=across, other=0.0) - shift) * inverse - less
        square += (x - centre) * (x - centre)
    out = tl.program_id(0).to(tl.int64) * d_model + column
    tl.store(means + out, centre, mask=across)
    tl.store(squares + out, square, mask=across)


@triton.jit
def _variance(
    means,
    squares,
    out,
    n_rows,
    n_blocks,
    d_model,
    ROWS: tl.constexpr,
    BLOCKS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Each column's squared distance from its mean, from those of blocks of ROWS rows. Grid: (blocks of columns,)."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    across = (column < d_model)[None, :]
    total = tl.zeros([COLUMNS], tl.float64)
    for start in range(0, n_blocks, BLOCKS):
        block = start + tl.arange(0, BLOCKS)
        inside = (block < n_blocks)[:, None] & across
        rows = tl.minimum(n_rows - block * ROWS, ROWS)[:, None]
        place = block[:, None] * d_model + column[None, :]
        total += tl.sum(tl.load(means + place, mask=inside, other=0.0).to(tl.float64) * rows, axis=0)
    centre = total / n_rows
    spread = tl.zeros([COLUMNS], tl.float64)
    for start in range(0, n_blocks, BLOCKS):
        block = start + tl.arange(0, BLOCKS)
        inside = (block < n_blocks)[:, None] & across
        rows = tl.minimum(n_rows - block * ROWS, ROWS)[:, None]
        place = block[:, None] * d_model + column[None, :]
        away = tl.load(means + place, mask=inside, other=0.0).to(tl.float64) - centre[None, :]
        near = tl.load(squares + place, mask=inside, other=0.0).to(tl.float64)
        spread += tl.sum(tl.where(inside, near + away * away * rows, 0.0), axis=0)
    tl.store(out + column, spread, mask=column < d_model)


def prepare(
    batch: torch.Tensor, mean: torch.Tensor, inverse: float, bias: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prepare a batch (rows, d_model) float32 for the encoder.

    Args:
        mean, bias: (d_model,).
        inverse: 1 / scale.
        dtype: float32 or bfloat16.

    Returns:
        inputs (rows, d_model) float32: (batch - mean) * inverse - bias.
        copy (rows, d_model): inputs in `dtype`.
        variance () float64: sum ||inputs - their mean||^2.
    """
    batch = batch.contiguous()
    (rows, d_model), device = batch.shape, batch.device
    inputs = torch.empty_like(batch)
    copy = inputs if dtype == torch.float32 else torch.empty_like(batch, dtype=dtype)
    blocks = triton.cdiv(rows, PREPARED)
    means, squares = (torch.empty((blocks, d_model), dtype=torch.float32, device=device) for _ in range(2))
    sizes = {"ROWS": PREPARED, "WIDTH": triton.next_power_of_2(d_model), "COPY": copy is not inputs}
    arguments = (batch, mean, bias, inputs, copy, means, squares, inverse, rows, d_model)
    _prepare[(blocks,)](*arguments, **sizes, num_warps=warps(d_model))
    spread = torch.empty(d_model, dtype=torch.float64, device=device)
    sizes = {"ROWS": PREPARED, "BLOCKS": min(512, triton.next_power_of_2(blocks)), "COLUMNS": COLUMNS}
    _variance[(triton.cdiv(d_model, COLUMNS),)](means, squares, spread, rows, blocks, d_model, **sizes)
    return inputs, copy, spread.sum()


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
    """Decode the entries, and compute error, gradient and loss, in one pass over each row.

    Args:
        target: (rows, d_model). decoder: (n_latents, d_model).
        index, value: (rows, k), see the module.

    Returns:
        error (rows, d_model), in the decoder's dtype: sum of value * decoder[index] - target.
        gradient (rows, k): error . decoder[index], half the gradient of the squared error by `value`.
        loss (rows,): sum of error ** 2.
    """
    (rows, d_model), k = target.shape, index.shape[1]
    error = torch.empty((rows, d_model), dtype=decoder.dtype, device=target.device)
    gradient = torch.empty((rows, k), dtype=torch.float32, device=target.device)
    loss = torch.empty(rows, dtype=torch.float32, device=target.device)
    arguments = (target, decoder, index, value, error, gradient, loss, len(decoder), k, d_model)
    _decode[(rows,)](*arguments, **_tile(d_model, 8192, k))
    return error, gradient, loss


def _tile(d_model: int, numbers: int, most: int) -> dict[str, int]:
    """Number of whole rows (about `numbers` values) that a program gathers at a time, and its warps."""
    width = triton.next_power_of_2(d_model)
    slots = max(1, min(numbers // width, triton.next_power_of_2(most)))
    return {"SLOTS": slots, "WIDTH": width, "num_warps": warps(d_model)}


def warps(d_model: int) -> int:
    """Warps of a program that sums rows: enough to read one bfloat16 row at a time, with 16 bytes per thread.

    More warps would read several rows at a time, and each sum over rows would pass through shared memory. On an H200
    that is three times as slow.
    """
    return max(1, min(16, triton.next_power_of_2(d_model) // 256))


@triton.jit
def adam_step(
    weight, first, second, gradient, mask, rate, correction, B1: tl.constexpr, B2: tl.constexpr, EPS: tl.constexpr
):
    """The weights after one Adam step. Writes the moments."""
    m = B1 * tl.load(first, mask=mask, other=0.0) + (1 - B1) * gradient
    v = B2 * tl.load(second, mask=mask, other=0.0) + (1 - B2) * gradient * gradient
    tl.store(first, m, mask=mask)
    tl.store(second, v, mask=mask)
    return tl.load(weight, mask=mask, other=0.0) - rate * m / (tl.sqrt(v) * correction + EPS)


@triton.jit
def _adam_vector(
    weight,
    first,
    second,
    gradient,
    scale,
    factors,
    size,
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
    rate, correction = tl.load(factors), tl.load(factors + 1)
    new = adam_step(weight + place, first + place, second + place, g, mask, rate, correction, B1, B2, EPS)
    tl.store(weight + place, new, mask=mask)


def set_factors(factors: torch.Tensor, rate: float, correction: float) -> None:
    """Write the results of `adam.adam_factors` into a tensor (2,), without waiting for its device."""
    factors[0].fill_(rate)
    factors[1].fill_(correction)


def adam(weight, first, second, gradient: torch.Tensor, scale: torch.Tensor, factors: torch.Tensor) -> None:
    """One Adam step of a tensor, in place, with gradient * scale.

    Args:
        weight, first, second: the tensor and its moments, updated. gradient: of the same shape.
        scale: () float32; NaN leaves everything unchanged.
        factors: (2,) float32, from `set_factors`.
    """
    sizes = {"BLOCK": 1024, "B1": BETA1, "B2": BETA2, "EPS": EPSILON}
    grid = (triton.cdiv(weight.numel(), sizes["BLOCK"]),)
    arguments = (weight, first, second, gradient.contiguous(), scale, factors, weight.numel())
    _adam_vector[grid](*arguments, **sizes)


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
    """(entries,): error[row] . decoder[latent] of each entry; both matrices are float32 with d_model columns."""
    out = torch.empty(len(rows), dtype=torch.float32, device=error.device)
    if len(rows):
        tile = _tile(error.shape[1], 4096, 4)
        grid = (triton.cdiv(len(rows), tile["SLOTS"]),)
        _dots[grid](error.contiguous(), decoder, rows, latents, out, len(rows), error.shape[1], **tile)
    return out
