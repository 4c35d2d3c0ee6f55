"""References for the Triton kernels, in plain torch and float64, and inputs to test them on."""

import torch

from sae_stability.sae.training.kernels.adam import BETA1, BETA2, EPSILON

NAMES = ("encoder", "decoder", "encoder_bias")


def largest(pre, bias, k):
    """Index (rows, k) and value (rows, k): latents ascending; n_latents and 0 in empty slots."""
    scores = pre.float() + bias
    n_latents = scores.shape[1]
    order = torch.sort(torch.where(scores.isnan(), torch.inf, scores), dim=1, descending=True, stable=True)
    fires = (order.values > 0) & (torch.arange(n_latents, device=pre.device) < k)
    index = torch.where(fires, order.indices, n_latents)[:, :k].sort(dim=1).values
    padded = torch.cat([scores, scores.new_zeros(len(scores), 1)], dim=1)
    return index.to(torch.int32), padded.gather(1, index)


def decode(target, decoder, index, value):
    """Error (rows, d_model), gradient (rows, k) and loss (rows,)."""
    rows = torch.cat([decoder, decoder.new_zeros(1, decoder.shape[1])]).double()[index.long()]  # (rows, k, d_model)
    error = (rows * value.double()[..., None]).sum(1) - target
    return error, (rows * error[:, None]).sum(2), error.square().sum(1)


def update_latents(entries, error, inputs, scale, silent, parameters, first, second, factors, n_main):
    """Parameters, first and second moments, silent and the decoder bias's part, all after the step."""
    index, rows, value, gradient = entries
    n_latents = len(silent)
    keep = index < n_latents
    latents, row = index[keep].long(), rows[keep].long()
    value, gradient = value[keep].double(), gradient[keep].double()
    empty = torch.zeros(parameters["encoder"].shape, dtype=torch.float64, device=index.device)
    weighted = {"encoder": inputs[row % len(inputs)] * gradient[:, None], "decoder": error[row] * value[:, None]}
    of = {name: empty.index_add(0, latents, parts.double()) * scale for name, parts in weighted.items()}
    bias = empty[:, 0].index_add(0, latents, gradient)
    of["encoder_bias"], part = bias * scale, bias @ parameters["encoder"].double()
    decoder = parameters["decoder"].double()
    of["decoder"] -= (of["decoder"] * decoder).sum(1, keepdim=True) * decoder
    first = {name: BETA1 * first[name] + (1 - BETA1) * of[name] for name in NAMES}
    second = {name: BETA2 * second[name] + (1 - BETA2) * of[name] ** 2 for name in NAMES}
    rate, correction = factors
    new = {n: parameters[n] - rate * first[n] / (second[n].sqrt() * correction + EPSILON) for n in NAMES}
    new["decoder"] /= new["decoder"].norm(dim=1, keepdim=True)
    fired = torch.zeros_like(silent).bool()
    fired[index[:n_main][index[:n_main] < n_latents].long()] = True
    return new, first, second, torch.where(fired, 0, silent + len(inputs)), part


def scores(rows, n_latents, dtype, device="cpu"):
    """Pre-activations and bias with many ties. Row 0 has no firing latent, row 1 equal scores, row 2 a NaN."""
    random = torch.Generator().manual_seed(0)
    pre = torch.randn(rows, n_latents, generator=random).mul(4).round().div(4)
    bias = torch.randn(n_latents, generator=random).mul(4).round().div(4)
    pre[0] = -9
    pre[1] = 9 - bias
    pre[2, n_latents // 2] = torch.nan
    return pre.to(device, dtype), bias.to(device)


def batch(rows, n_latents, d_model, k, dtype, device="cpu"):
    """Target, decoder and the entries of a batch; row 0 has none, others may have fewer than k."""
    random = torch.Generator().manual_seed(1)
    target, decoder = torch.randn(rows, d_model, generator=random), torch.randn(n_latents, d_model, generator=random)
    decoder /= decoder.norm(dim=1, keepdim=True)
    index, value = largest(torch.randn(rows, n_latents, generator=random), torch.zeros(n_latents), k)
    index[0], value[0] = n_latents, 0
    return target.to(device), decoder.to(device, dtype), index.to(device), value.to(device)


def entries(rows, n_latents, d_model, k, dtype, device="cpu"):
    """Arguments of `update_latents`. Latent 1 fires in every row, latent 2 never; the last third is AuxK's."""
    random = torch.Generator().manual_seed(2)
    index = torch.randint(3, n_latents + 1, (3 * rows // 2, k), generator=random)
    index[:, 0] = 1
    index[rows:, 0] = n_latents - 1
    index = index.sort(dim=1).values.to(torch.int32)
    row = torch.arange(len(index), dtype=torch.int32)[:, None].expand_as(index)
    value, gradient = (torch.randn(index.shape, generator=random) * (index < n_latents) for _ in range(2))
    error, inputs = (torch.randn(n, d_model, generator=random) for n in (2 * rows, rows))
    shapes = {"encoder": (n_latents, d_model), "decoder": (n_latents, d_model), "encoder_bias": (n_latents,)}
    parameters, first, second = ({n: torch.randn(s, generator=random) for n, s in shapes.items()} for _ in range(3))
    parameters["decoder"] /= parameters["decoder"].norm(dim=1, keepdim=True)
    second = {name: value.square() for name, value in second.items()}
    silent = torch.arange(n_latents)
    lists = [t.reshape(-1).to(device) for t in (index, row, value, gradient)]
    moments = [{name: t.to(device) for name, t in tensors.items()} for tensors in (parameters, first, second)]
    both = (error.to(device, dtype), inputs.to(device, dtype))
    return lists, *both, torch.tensor(0.01, device=device), silent.to(device), *moments, (1e-2, 1.5), rows * k
