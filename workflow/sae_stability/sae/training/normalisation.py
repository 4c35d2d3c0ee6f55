"""Normalisation of the input during training, and how it is folded into the saved weights."""

from dataclasses import dataclass

import numpy as np

ON_ACTIVATIONS = ("encoder_bias", "threshold", "magnitude_bias")  # tensors in the latents' own unit


@dataclass(frozen=True)
class Normalisation:
    """z = (x - mean) / scale; `mean` has shape (d_model,)."""

    mean: np.ndarray
    scale: float

    @classmethod
    def from_manifest(cls, kind: str, manifest: dict) -> "Normalisation":
        """`none`, or `centre-scale` with the manifest's mean and mean norm: E||x - mean|| becomes sqrt(d_model)."""
        d_model = manifest["d_model"]
        if kind == "none":
            return cls(np.zeros(d_model, np.float32), 1.0)
        scale = manifest["mean_centred_norm"] / d_model**0.5
        return cls(np.asarray(manifest["mean"], np.float32), float(scale) or 1.0)

    def fold(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights that act on x as `weights` act on z.

        With b' = scale * b + mean, x - b' = scale * (z - b); a pre-activation E (z - b) + c times `scale` is
        E (x - b') + scale * c. So latents come out times `scale`, the same ones win, and unit decoder rows times them
        plus b' is scale * z_hat + mean = x_hat. Encoder and decoder rows stay as they are.
        """
        scaled = {name: weights[name] * np.float64(self.scale) for name in ON_ACTIVATIONS if name in weights}
        scaled["decoder_bias"] = weights["decoder_bias"] * np.float64(self.scale) + self.mean
        return weights | {name: value.astype(np.float32) for name, value in scaled.items()}


def unit_decoder(weights: dict) -> dict:
    """Weights with unit decoder rows that give the same reconstructions, for architectures that commute with scale.

    Latent i's activation takes over its decoder row's norm: encoder row and bias are multiplied by it. Cosines of
    encoder and decoder rows, and activations of two SAEs, may be compared only then. Rows of norm 0 stay.
    """
    norms = (weights["decoder"] ** 2).sum(1) ** 0.5
    norms = norms + (norms == 0)
    return weights | {
        "encoder": weights["encoder"] * norms[:, None],
        "decoder": weights["decoder"] / norms[:, None],
        "encoder_bias": weights["encoder_bias"] * norms,
    }
