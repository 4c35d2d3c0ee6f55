"""Latents of two SAEs as one SAE that loads, encodes and is evaluated like any other."""

import dataclasses

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.sae.model import SAE
from sae_stability.sae.weights import SELECTIVE, Weights
from sae_stability.stitch.changes import Bias, bias_share


def stitched(
    small: SAE,
    large: SAE,
    keep: np.ndarray,
    add: np.ndarray,
    *,
    thresholds: tuple[float | None, float | None] = (None, None),
    bias: Bias = "count",
) -> SAE:
    """The SAE of some latents of `small` and some of `large`, those of `small` first.

    Every latent keeps its encoder row, bias, threshold and decoder row, and the preprocessing of its SAE. ReLU,
    JumpReLU and gated SAEs, and BatchTopK and Matryoshka SAEs in use, give exactly the activations that they give
    alone. Where k decides which latents fire (TopK), that depends on latents that are left out; such an SAE gets one
    threshold in its place, see `row_threshold`. All latents of one SAE and none of the other give that SAE itself, if
    the bias is its own.

    Args:
        small, large: the SAEs.
        keep: (n_small,) bool: latents to take of the small SAE.
        add: (n_large,) bool: latents to take of the large SAE.
        thresholds: for each SAE where k decides: the activation above which its latents fire.
        bias: whose decoder bias it has: "count" mixes the two by the number of latents of each.

    Raises:
        StudyError: the two cannot be one SAE: their inputs are normalised in other ways, there is a skip connection,
            activations have signs, no latent is left, or a threshold is missing.
    """
    share = float(bias_share(bias, keep.sum(), add.sum()))
    for one, some, other, own in ((small, keep, add, 0), (large, add, keep, 1)):
        if some.all() and not other.any() and share == own:
            return SAE(dataclasses.replace(one.weights, origin=one.origin))
    check_can_be_stitched(small, large)
    if not keep.any() and not add.any():
        raise StudyError("stitched: no latent is chosen; keep or add at least one")
    parts = [
        _as_jumprelu(sae.weights, threshold, chosen)
        for sae, threshold, chosen in ((small, thresholds[0], keep), (large, thresholds[1], add))
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    mixed = (1 - share) * small.weights.decoder_bias + share * large.weights.decoder_bias
    return SAE(
        Weights(
            **joined,
            decoder_bias=mixed.astype(np.float32),
            activation="jumprelu",
            subtract_decoder_bias=False,
            input_norm=small.input_norm,
            origin={"stitched": f"{int(keep.sum())} latents of one SAE and {int(add.sum())} of another"},
        ),
        device=small.encoder.device,
    )


def row_threshold(lowest: np.ndarray) -> float:
    """The threshold that stands for a TopK SAE's choice: the mean over rows of the lowest activation that it keeps.

    As BatchTopK sets its threshold (Bussmann et al., arXiv 2412.06410, equation 8), with rows for batches.
    """
    return float(lowest.mean()) if len(lowest) else 0.0


def check_can_be_stitched(small: SAE, large: SAE) -> None:
    """Check that latents of both can be in one SAE.

    Raises:
        StudyError: they cannot.
    """
    if small.d_model != large.d_model:
        raise StudyError(f"stitch: SAEs of width {small.d_model} and {large.d_model}; both must have the same width")
    if small.input_norm != large.input_norm:
        raise StudyError(
            f"stitch: inputs are normalised as {small.input_norm!r} and as {large.input_norm!r}; latents of both "
            "cannot be in one SAE"
        )
    for sae in (small, large):
        if "skip" in sae.extras:
            raise StudyError("stitch: an SAE with a skip connection cannot be stitched")
        if sae.activation == "abstopk":
            raise StudyError("stitch: an SAE whose activations have signs (abstopk) cannot be stitched")


def _as_jumprelu(weights: Weights, threshold: float | None, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Some latents of an SAE: rows, bias and threshold of a JumpReLU encoder on inputs less no bias.

    With s = exp(log_magnitude), a gated latent is relu(p) where p = s (encoder z) + encoder_bias, and it fires where
    encoder z + gate_bias > 0, that is p > encoder_bias - s gate_bias.
    """
    encoder, encoder_bias = weights.encoder[chosen], weights.encoder_bias[chosen]
    limit = np.zeros(len(encoder), np.float32)
    if weights.activation == "jumprelu":
        limit = weights.threshold[chosen]
    elif weights.activation == "gated":
        scale = np.exp(weights.log_magnitude[chosen])
        encoder = encoder * scale[:, None]
        limit = encoder_bias - scale * weights.gate_bias[chosen]
    elif weights.activation in SELECTIVE:
        if threshold is None:
            raise StudyError(f"stitched: a {weights.activation} SAE needs a threshold; measure it with `row_threshold`")
        limit = limit + np.float32(threshold)
    if weights.subtract_decoder_bias:
        encoder_bias = encoder_bias - encoder @ weights.decoder_bias
    return {"encoder": encoder, "encoder_bias": encoder_bias, "threshold": limit, "decoder": weights.decoder[chosen]}
