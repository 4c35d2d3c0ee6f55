"""The consensus SAE: one latent for each group of latents."""

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.sae.weights import OPTIONAL, SELECTIVE, Weights

Direction = Literal["mean", "medoid"]

_OF_LATENTS = ("encoder", "decoder", "encoder_bias", *(name for name, shape in OPTIONAL.items() if shape == "n"))
_OF_SAE = ("decoder_bias", *(name for name, shape in OPTIONAL.items() if shape != "n"))


def comparable(saes: dict[int, Weights]) -> dict[int, Weights]:
    """The SAEs with the decoder bias folded into the encoder bias and with unit decoder rows, so that they mix.

    Each is the same SAE as before; TopK SAEs whose decoder rows have different norms select by the folded activations.

    Raises:
        StudyError: the SAEs differ in activation or normalisation of the input, or latents are bound to their places.
    """
    first = next(iter(saes.values()))
    for seed, sae in saes.items():
        if (sae.activation, sae.input_norm) != (first.activation, first.input_norm):
            raise StudyError(
                f"consensus: SAE {seed} has the activation {sae.activation} with input normalisation {sae.input_norm}, "
                f"another {first.activation} with {first.input_norm}; only SAEs of one kind have a consensus SAE"
            )
    if first.activation == "groupmax":
        raise StudyError("consensus: groupmax binds latents to their places, so they cannot be chosen one by one")
    return {seed: _folded(sae) for seed, sae in saes.items()}


def _folded(sae: Weights) -> Weights:
    tensors = {name: tensor.astype(np.float64) for name, tensor in sae.tensors.items()}
    norm = np.linalg.norm(tensors["decoder"], axis=1)
    norm[norm == 0] = 1
    moved = tensors["encoder"] @ tensors["decoder_bias"] if sae.subtract_decoder_bias else np.zeros(len(norm))
    tensors["decoder"] /= norm[:, None]
    if sae.activation == "gated":
        # The gate does not see the magnitude's scale.
        tensors["gate_bias"] -= moved
        tensors["encoder_bias"] = (tensors["encoder_bias"] - np.exp(tensors["log_magnitude"]) * moved) * norm
        tensors["log_magnitude"] += np.log(norm)
    else:
        tensors["encoder_bias"] = (tensors["encoder_bias"] - moved) * norm
        tensors["encoder"] *= norm[:, None]
        if "threshold" in tensors:
            tensors["threshold"] *= norm
    return _with(sae, tensors)


def consensus(saes: dict[int, Weights], groups: pd.DataFrame, direction: Direction = "mean") -> Weights:
    """One latent for each group.

    With "mean", its decoder row is the mean of the members' directions, scaled to norm 1, and its encoder row, bias and
    thresholds are the members' means, so its pre-activation is the mean of theirs. With "medoid", it is the member
    whose decoder row is most similar to the others'. The decoder bias is the mean of the SAEs'.

    Args:
        saes: made by `comparable`.
        groups: rows of `groups.groups`, all members of each group.

    Returns:
        The SAE, latents in the order of the groups; for activations that select, k is that of the SAEs or the number of
        latents, whichever is less.
    """
    groups = groups.sort_values("group", kind="stable")
    place = np.unique(groups["group"], return_inverse=True)[1]
    size = np.bincount(place)
    first = next(iter(saes.values()))
    names = [name for name in _OF_LATENTS if getattr(first, name) is not None]
    members = {name: _members(saes, groups, name) for name in names}
    means = {name: _means(values, size) for name, values in members.items()}
    if direction == "medoid":
        similarity = np.einsum("pd,pd->p", members["decoder"], means["decoder"][place])
        best = np.lexsort((-similarity, place))[np.concatenate([[0], np.cumsum(size)[:-1]])]
        tensors = {name: values[best] for name, values in members.items()}
    else:
        length = np.linalg.norm(means["decoder"], axis=1, keepdims=True)
        tensors = means | {"decoder": means["decoder"] / np.maximum(length, 1e-30)}
    whole = [name for name in _OF_SAE if getattr(first, name) is not None]
    tensors |= {name: np.mean([getattr(sae, name) for sae in saes.values()], axis=0) for name in whole}
    return _with(first, tensors)


def some_latents(sae: Weights, latents: np.ndarray) -> Weights:
    """An SAE with these latents of `sae`, which `comparable` made, and no others."""
    names = [name for name in _OF_LATENTS if getattr(sae, name) is not None]
    return _with(sae, {name: getattr(sae, name)[latents] for name in names})


def with_k(sae: Weights, k: float) -> Weights:
    """The SAE with about k latents a row, if its activation selects them; at least 1, and at most all."""
    if sae.activation not in SELECTIVE:
        return sae
    return dataclasses.replace(sae, k=int(np.clip(round(k), 1, sae.n_latents)))


def _members(saes: dict[int, Weights], groups: pd.DataFrame, name: str) -> np.ndarray:
    """A tensor's rows of the members of all groups, in the order of `groups`, float64."""
    first = getattr(next(iter(saes.values())), name)
    rows = np.empty((len(groups), *first.shape[1:]))
    for seed, sae in saes.items():
        of_seed = (groups["seed"] == seed).to_numpy()
        rows[of_seed] = getattr(sae, name)[groups["latent"].to_numpy()[of_seed]]
    return rows


def _means(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Means of the rows of each group; `size` rows of one group lie together."""
    starts = np.concatenate([[0], np.cumsum(size)[:-1]])
    return np.add.reduceat(values, starts, axis=0) / size.reshape(-1, *[1] * (values.ndim - 1))


def _with(sae: Weights, tensors: dict[str, np.ndarray]) -> Weights:
    tensors = {name: np.ascontiguousarray(values, np.float32) for name, values in tensors.items()}
    k = sae.k if sae.k is None else min(sae.k, len(tensors["encoder"]))
    return dataclasses.replace(sae, **tensors, subtract_decoder_bias=False, k=k, origin={})
