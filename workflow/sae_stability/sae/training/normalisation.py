"""Normalise the input during training, and fold the normalisation into the saved weights."""

from dataclasses import dataclass

import numpy as np

ON_ACTIVATIONS = ("encoder_bias", "threshold", "magnitude_bias")  # tensors in units of the latents' activations


@dataclass(frozen=True)
class Normalisation:
    """z = (x - mean) / scale, where `mean` has shape (d_model,)."""

    mean: np.ndarray
    scale: float

    @classmethod
    def from_manifest(cls, kind: str, manifest: dict) -> "Normalisation":
        """The normalisation `kind`: `none`, or `centre-scale`, which makes E||x - mean|| equal to sqrt(d_model).

        Args:
            manifest: manifest of a chunk, which holds the mean and the mean norm.
        """
        d_model = manifest["d_model"]
        if kind == "none":
            return cls(np.zeros(d_model, np.float32), 1.0)
        scale = manifest["mean_centred_norm"] / d_model**0.5
        return cls(np.asarray(manifest["mean"], np.float32), float(scale) or 1.0)

    def fold(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights that do on x what `weights` do on z.

        With b' = scale * b + mean, x - b' = scale * (z - b), so scale * (E (z - b) + c) = E (x - b') + scale * c.
        Pre-activations are multiplied by `scale`, and the same latents fire. The decoder then gives
        scale * z_hat + mean = x_hat. Encoder and decoder rows do not change.
        """
        scaled = {name: weights[name] * np.float64(self.scale) for name in ON_ACTIVATIONS if name in weights}
        scaled["decoder_bias"] = weights["decoder_bias"] * np.float64(self.scale) + self.mean
        return weights | {name: value.astype(np.float32) for name, value in scaled.items()}


def unit_decoder(weights: dict) -> dict:
    """Weights with unit decoder rows that give the same reconstructions.

    Valid for architectures where scaling the pre-activation of a latent scales its activation, such as ReLU. The norm
    of each decoder row is moved into the latent's encoder row and bias, so that activations of two SAEs are comparable.
    Rows of norm 0 do not change.
    """
    norms = (weights["decoder"] ** 2).sum(1) ** 0.5
    norms = norms + (norms == 0)
    return weights | {
        "encoder": weights["encoder"] * norms[:, None],
        "decoder": weights["decoder"] / norms[:, None],
        "encoder_bias": weights["encoder_bias"] * norms,
    }
