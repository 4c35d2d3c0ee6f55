"""Triton kernels that select the largest latents of each row. `triton_sparse` defines the layout of entries."""

import torch
import triton
import triton.language as tl


@triton.jit
def _keys(score):
    """Integer keys that order positive floats; 0 for others. NaN is largest, because it must reach the loss."""
    bits = score.to(tl.int32, bitcast=True)
    return tl.where(score != score, 0x7FC00000, tl.maximum(bits, 0))


@triton.jit
def _larger(a, b):
    """The larger number; NaN if either is NaN."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _keep_largest(keys, k):
    """Mask of the k largest `keys` above 0 (ties go to the earlier), and the place of each among them."""
    cut = tl.sum(keys * 0, axis=0)
    bit, reached = cut + (1 << 30), cut - 1
    while (bit > 0) & (reached != k):
        higher = cut | bit
        count = tl.sum((keys >= higher).to(tl.int32), axis=0)
        cut, reached = tl.where(count >= k, higher, cut), tl.where(count >= k, count, reached)
        bit = bit >> 1
    above = keys > tl.where(reached == k, cut - 1, cut)
    tied = (keys == cut) & (keys > 0)
    room = k - tl.sum(above.to(tl.int32), axis=0)
    keep = above | (tied & (room > 0))
    if tl.sum(keep.to(tl.int32), axis=0) > k:  # `cumsum` is slow, so only if there are ties to drop
        keep = above | (tied & (tl.cumsum(tied.to(tl.int32), axis=0) <= room))
    return keep, tl.cumsum(keep.to(tl.int32), axis=0) - 1


@triton.jit
def _group_maxima(
    pre, bias, maxima, n_rows, n_latents, n_groups, ROWS: tl.constexpr, GROUPS: tl.constexpr, SIZE: tl.constexpr
):
    """maxima[row, g] = largest key of the SIZE latents from g * SIZE. Grid: (blocks of rows, blocks of groups)."""
    groups = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    latents = groups[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    inside = latents < n_latents
    shift = tl.load(bias + latents, mask=inside, other=0.0)
    low = tl.program_id(0) * ROWS
    for row in range(low, tl.minimum(low + ROWS, n_rows)):
        scores = (
            tl.load(pre + tl.cast(row, tl.int64) * n_latents + latents, mask=inside, other=0.0).to(tl.float32) + shift
        )
        best = tl.reduce(tl.where(inside, scores, 0.0), 1, _larger)
        tl.store(maxima + tl.cast(row, tl.int64) * n_groups + groups, _keys(best), mask=groups < n_groups)


@triton.jit
def _pick_groups(maxima, groups, n_groups, slots, WIDTH: tl.constexpr, SLOTS: tl.constexpr):
    """The `slots` groups of a row with the largest maxima, ascending; n_groups in empty slots. Grid: (rows,)."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, WIDTH)
    keys = tl.load(maxima + row * n_groups + place, mask=place < n_groups, other=0)
    keep, at = _keep_largest(keys, slots)
    out = groups + row * slots
    tl.store(out + at, place, mask=keep)
    slot = tl.arange(0, SLOTS)
    tl.store(out + slot, n_groups + slot * 0, mask=(slot >= tl.sum(keep.to(tl.int32), axis=0)) & (slot < slots))


@triton.jit
def _pick_entries(
    pre, bias, groups, index, value, n_latents, k, slots, SLOTS: tl.constexpr, SIZE: tl.constexpr, K: tl.constexpr
):
    """The k largest entries of a row in its picked groups. Grid: (rows,)."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, SLOTS * SIZE)
    slot = place // SIZE
    group = tl.load(groups + row * slots + slot, mask=slot < slots, other=0)
    latent = group * SIZE + place % SIZE
    inside = (slot < slots) & (latent < n_latents)
    scores = tl.load(pre + row * n_latents + latent, mask=inside, other=0.0).to(tl.float32)
    scores += tl.load(bias + latent, mask=inside, other=0.0)
    keep, at = _keep_largest(tl.where(inside, _keys(scores), 0), k)
    tl.store(index + row * k + at, latent, mask=keep)
    tl.store(value + row * k + at, scores, mask=keep)
    rest = tl.arange(0, K)
    empty = (rest >= tl.sum(keep.to(tl.int32), axis=0)) & (rest < k)
    tl.store(index + row * k + rest, n_latents + rest * 0, mask=empty)
    tl.store(value + row * k + rest, rest * 0.0, mask=empty)


def largest(pre: torch.Tensor, bias: torch.Tensor, k: int, index: torch.Tensor, value: torch.Tensor) -> None:
    """The k largest positive entries of each row of pre + bias. Ties go to the lower index.

    The k groups of neighbouring latents with the largest maxima hold all of them, since the k maxima exceed every entry
    of other groups. So each row is read once, and then only k of its groups. The k-th largest is found by bisection on
    the bits of the floats, until it is separated from the next.

    Args:
        pre: (rows, n_latents) float32 or bfloat16. bias: (n_latents,) float32. k: at most n_latents.
        index, value: (rows, k) int32 and float32, written.
    """
    rows, n_latents = pre.shape
    size = _group_size(n_latents, k)
    n_groups = triton.cdiv(n_latents, size)
    slots = min(k, n_groups)
    maxima = torch.empty((rows, n_groups), dtype=torch.int32, device=pre.device)
    groups = torch.empty((rows, slots), dtype=torch.int32, device=pre.device)
    tile = {"ROWS": 8, "GROUPS": max(1, 2048 // size), "SIZE": size}
    grid = (triton.cdiv(rows, tile["ROWS"]), triton.cdiv(n_groups, tile["GROUPS"]))
    _group_maxima[grid](pre, bias, maxima, rows, n_latents, n_groups, **tile)
    width, room = triton.next_power_of_2(n_groups), triton.next_power_of_2(slots)
    _pick_groups[(rows,)](maxima, groups, n_groups, slots, WIDTH=width, SLOTS=room, num_warps=_warps(width))
    sizes = {"SLOTS": room, "SIZE": size, "K": triton.next_power_of_2(k), "num_warps": _warps(room * size)}
    _pick_entries[(rows,)](pre, bias, groups, index, value, n_latents, k, slots, **sizes)


def _group_size(n_latents: int, k: int) -> int:
    """Size with about as many groups as entries in k groups, which minimises the work."""
    size = 4
    while size * size * k < n_latents and size < 1024:
        size *= 2
    return size


def _warps(width: int) -> int:
    return max(1, min(16, width // 1024))
