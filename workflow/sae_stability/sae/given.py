"""An SAE of any origin, ready to encode and decode."""

from pathlib import Path

import torch

from sae_stability.sae import model
from sae_stability.sae.checkpoint import read_cfg
from sae_stability.sae.imported import ARCHITECTURE, read_weights
from sae_stability.sae.weights import Weights

_EPSILON = 1e-5  # SAELens and OpenAI add it to the standard deviation, not to the variance


class GivenSAE:
    """Weights that another library trained, with the forward pass that `weights.Weights` defines.

    Attributes:
        encoder, decoder: (n_latents, d_model); decoder rows have the norms that the file gave them.
        encoder_bias: (n_latents,). decoder_bias: (d_model,).
        cfg: settings and origin.
        extras: the tensors that not every SAE has, by name.
    """

    def __init__(self, weights: Weights, device: str | torch.device = "cpu") -> None:
        tensors = {name: torch.from_numpy(value).to(device) for name, value in weights.tensors.items()}
        self.encoder, self.decoder = tensors.pop("encoder"), tensors.pop("decoder")
        self.encoder_bias, self.decoder_bias = tensors.pop("encoder_bias"), tensors.pop("decoder_bias")
        self.extras, self._weights = tensors, weights
        self.cfg = weights.settings | {"architecture": weights.activation} | weights.origin

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (rows, n_latents) float32 of raw activations x (rows, d_model) of any precision."""
        x = self._normalised(x.to(self.encoder.dtype))[0]
        if self._weights.subtract_decoder_bias:
            x = x - self.decoder_bias
        return getattr(self, f"_{self._weights.activation}")(x)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """latents @ decoder + decoder_bias; see `reconstruct` for SAEs that scale each row or have a skip."""
        return torch.addmm(self.decoder_bias, latents, self.decoder)

    def reconstruct(self, latents: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """What the SAE puts in the place of x, from x's latents: `decode`, each row scaled back, plus skip x."""
        x = x.to(self.encoder.dtype)
        _, shift, scale = self._normalised(x)
        x_hat = self.decode(latents) * scale + shift
        return x_hat + x @ self.extras["skip"].T if "skip" in self.extras else x_hat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """reconstruct(encode(x), x)."""
        return self.reconstruct(self.encode(x), x)

    def _normalised(self, x: torch.Tensor):
        """x as the encoder wants it, and the shift and the scale that take it back."""
        if self._weights.input_norm == "layer":
            shift, scale = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
            return (x - shift) / (scale + _EPSILON), shift, scale
        if self._weights.input_norm == "unit":
            scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
            return x / scale, 0.0, scale
        return x, 0.0, 1.0

    def _pre(self, z: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.encoder_bias, z, self.encoder.T)

    def _topk(self, z: torch.Tensor) -> torch.Tensor:
        pre = torch.relu(self._pre(z))
        best = pre.topk(self._weights.k, dim=1, sorted=False)
        return torch.zeros_like(pre).scatter_(1, best.indices, best.values)

    def _abstopk(self, z: torch.Tensor) -> torch.Tensor:
        pre = self._pre(z)
        best = pre.abs().topk(self._weights.k, dim=1, sorted=False).indices
        return torch.zeros_like(pre).scatter_(1, best, pre.gather(1, best))

    def _groupmax(self, z: torch.Tensor) -> torch.Tensor:
        groups = torch.relu(self._pre(z)).unflatten(1, (self._weights.k, -1))
        best = groups.max(dim=2, keepdim=True)
        return torch.zeros_like(groups).scatter_(2, best.indices, best.values).flatten(1)

    def _relu(self, z: torch.Tensor) -> torch.Tensor:
        return torch.relu(self._pre(z))

    def _jumprelu(self, z: torch.Tensor) -> torch.Tensor:
        pre = self._pre(z)
        return torch.relu(pre) * (pre > self.extras["threshold"])

    def _gated(self, z: torch.Tensor) -> torch.Tensor:
        products = z @ self.encoder.T
        magnitude = torch.relu(self.extras["log_magnitude"].exp() * products + self.encoder_bias)
        return magnitude * (products + self.extras["gate_bias"] > 0)


def load_folder(path: Path, device: str | torch.device = "cpu") -> "model.SAE | GivenSAE":
    """Read an SAE folder in the project's own format, trained here or imported.

    Raises:
        StudyError: as `model.load` and `imported.read_weights`.
    """
    if read_cfg(path)["architecture"] == ARCHITECTURE:
        return GivenSAE(read_weights(path), device)
    return model.load(path, device)
