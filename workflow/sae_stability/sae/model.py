"""A trained SAE, ready to encode and decode."""

from pathlib import Path

import torch

from sae_stability.errors import StudyError
from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.checkpoint import arrays, check_shapes, read_cfg
from sae_stability.sae.training.steps import architecture


class SAE:
    """A sparse autoencoder on raw activations.

    Attributes:
        encoder, decoder: (n_latents, d_model); rows are latents, decoder rows have norm 1.
        encoder_bias: (n_latents,). decoder_bias: (d_model,).
        cfg: what `cfg.json` says.
        extras: tensors of the architecture alone, by name.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], cfg: dict) -> None:
        extras = dict(tensors)
        self.encoder, self.decoder = extras.pop("encoder"), extras.pop("decoder")
        self.encoder_bias, self.decoder_bias = extras.pop("encoder_bias"), extras.pop("decoder_bias")
        self.extras, self.cfg = extras, cfg
        self._encode = architecture(cfg["architecture"]).encode

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (rows, n_latents) float32 of activations x (rows, d_model) of any precision."""
        return self._encode(self, x.to(self.encoder.dtype))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Reconstruction (rows, d_model) of latents (rows, n_latents): latents @ decoder + decoder_bias."""
        return torch.addmm(self.decoder_bias, latents, self.decoder)

    def reconstruct(self, latents: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """What the SAE puts in the place of x, from x's latents. Here decode; imported SAEs may scale by x's norm."""
        return self.decode(latents)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """decode(encode(x))."""
        return self.decode(self.encode(x))


def load(path: Path, device: str | torch.device = "cpu") -> SAE:
    """Read an SAE folder of this project (`checkpoint`).

    Raises:
        StudyError: a file is missing, damaged, of unknown architecture, or its tensors disagree with `cfg.json`.
    """
    cfg = read_cfg(path)
    if cfg["architecture"] not in REGISTRY:
        raise StudyError(
            f"{path}/cfg.json: architecture {cfg['architecture']!r} is not known; allowed: {', '.join(REGISTRY)}"
        )
    if cfg["k"] is None:
        raise StudyError(f"{path}/cfg.json: k is null; a {cfg['architecture']} SAE states its k")
    values = arrays(path)
    check_shapes(path, values, cfg, architecture(cfg["architecture"]).EXTRAS)
    return SAE({name: torch.from_numpy(value).to(device) for name, value in values.items()}, cfg)
