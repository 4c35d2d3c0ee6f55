"""An SAE of any origin, ready to encode and decode."""

from pathlib import Path

import numpy as np
import torch

from sae_stability.devices import check_device
from sae_stability.errors import StudyError
from sae_stability.sae import formats
from sae_stability.sae.formats import own
from sae_stability.sae.weights import Weights

_EPSILON = 1e-5  # added to the standard deviation, not to the variance, as in SAELens and OpenAI's code


class SAE:
    """A sparse autoencoder on raw activations, trained here or elsewhere. `weights.Weights` defines its forward pass.

    Attributes:
        encoder, decoder: (n_latents, d_model); rows are latents. Decoder rows have norm 1 in SAEs trained here, and the
            norms of the checkpoint in others.
        encoder_bias: (n_latents,). decoder_bias: (d_model,).
        extras: optional tensors, named as in `Weights` (`threshold`, `gate_bias`, `log_magnitude`, `skip`).
        cfg: the contents of `cfg.json` for an SAE trained here; settings and origin for others.
        trained_here: whether this project trained the SAE.

    The methods take numpy arrays too, and raise a StudyError for values that are no matrix of real numbers or have
    another width.
    """

    def __init__(self, weights: Weights, cfg: dict | None = None, device: str | torch.device = "cpu") -> None:
        tensors = {name: torch.from_numpy(value).to(device) for name, value in weights.tensors.items()}
        self.encoder, self.decoder = tensors.pop("encoder"), tensors.pop("decoder")
        self.encoder_bias, self.decoder_bias = tensors.pop("encoder_bias"), tensors.pop("decoder_bias")
        self.extras = tensors
        self.k, self.activation, self.origin = weights.k, weights.activation, weights.origin
        self.subtract_decoder_bias, self.input_norm = weights.subtract_decoder_bias, weights.input_norm
        self.trained_here = cfg is not None
        self.cfg = cfg or weights.settings | {"architecture": weights.activation} | weights.origin

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self.encoder.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.encoder.shape[1]

    def encode(self, x: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Latent activations (rows, n_latents) float32 of raw activations x (rows, d_model) of any float dtype."""
        return _ENCODE[self.activation](self, self.encoder_input(x))

    def encoder_input(self, x: torch.Tensor | np.ndarray) -> torch.Tensor:
        """What the encoder multiplies, (rows, d_model) float32: x normalised, less the decoder bias if subtracted."""
        z = self._normalised(self._rows(x, "x", self.d_model))[0]
        return z - self.decoder_bias if self.subtract_decoder_bias else z

    def decode(self, latents: torch.Tensor | np.ndarray) -> torch.Tensor:
        """latents @ decoder + decoder_bias, (rows, d_model). `reconstruct` adds rescaling and the skip connection."""
        return torch.addmm(self.decoder_bias, self._rows(latents, "latents", self.n_latents), self.decoder)

    def reconstruct(self, latents: torch.Tensor | np.ndarray, x: torch.Tensor | np.ndarray) -> torch.Tensor:
        """The reconstruction of x (rows, d_model) from its latents: `decode`, scaled back, plus the skip connection."""
        x_hat = self.decode(latents)
        x = self._rows(x, "x", self.d_model)
        if len(x) != len(x_hat):
            raise StudyError(f"latents has {len(x_hat)} rows, x has {len(x)}; give the latents of these rows")
        if self.input_norm != "none":
            _, shift, scale = self._normalised(x)
            x_hat = x_hat * scale + shift
        return x_hat + x @ self.extras["skip"].T if "skip" in self.extras else x_hat

    def forward(self, x: torch.Tensor | np.ndarray) -> torch.Tensor:
        """reconstruct(encode(x), x)."""
        return self.reconstruct(self.encode(x), x)

    @property
    def weights(self) -> Weights:
        """Tensors (as numpy arrays) and settings."""
        names = ("encoder", "decoder", "encoder_bias", "decoder_bias")
        tensors = {name: getattr(self, name) for name in names} | self.extras
        settings = ("activation", "k", "subtract_decoder_bias", "input_norm", "origin")
        return Weights(
            **{name: value.numpy(force=True) for name, value in tensors.items()},
            **{name: getattr(self, name) for name in settings},
        )

    def _rows(self, values: torch.Tensor | np.ndarray, name: str, width: int) -> torch.Tensor:
        """`values` as a float32 tensor (rows, `width`) on the SAE's device."""
        if isinstance(values, np.ndarray):
            if values.dtype.kind not in "fiub":
                raise StudyError(f"{name}: holds {values.dtype} values; must be real numbers")
            values = torch.as_tensor(values, device=self.encoder.device)
        if not isinstance(values, torch.Tensor) or values.is_complex():
            kind = getattr(values, "dtype", type(values).__name__)
            raise StudyError(f"{name}: {kind} given; give a torch tensor or numpy array of real numbers")
        if values.ndim != 2 or values.shape[1] != width:
            raise StudyError(f"{name}: shape {tuple(values.shape)} given; must be (rows, {width})")
        if values.device != self.encoder.device:
            raise StudyError(f"{name}: on {values.device}, but the SAE is on {self.encoder.device}; move one of them")
        return values.to(self.encoder.dtype)

    def _normalised(self, x: torch.Tensor):
        """(x normalised for the encoder, shift, scale); normalised x * scale + shift = x, up to the epsilon."""
        if self.input_norm == "layer":
            shift, scale = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
            return (x - shift) / (scale + _EPSILON), shift, scale
        if self.input_norm == "unit":
            scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
            return x / scale, 0.0, scale
        return x, 0.0, 1.0


def load(path: str | Path, format: str | None = None, device: str | torch.device = "cpu") -> SAE:
    """Load an SAE that was trained here or by another library.

    Args:
        path: a folder or a file.
        format: one of `formats.FORMATS` (own, sparsify, saelens, dictionary_learning, gemma_scope, ...); None to
            detect it from the files.
        device: a torch device.

    Raises:
        StudyError: there is no such SAE, its files are damaged, contradict each other, or contain code; or torch has no
            such device here.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from sae_stability import sae
        >>> rows = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
        >>> folder = tempfile.mkdtemp()
        >>> _ = sae.train(rows, n_latents=16, k=2, batch_size=64, out=folder)
        >>> loaded = sae.load(folder)
        >>> loaded.encoder.shape
        torch.Size([16, 8])
        >>> latents = loaded.encode(rows)
        >>> int((latents != 0).sum(1).max())
        2
        >>> loaded.decode(latents).shape
        torch.Size([512, 8])
    """
    path = Path(path)
    check_device(device)
    if (format or formats.detect(path)) == "own":
        return load_own(path, device)
    return SAE(formats.read(path, format), device=device)


def load_own(path: Path, device: str | torch.device = "cpu") -> SAE:
    """Read an SAE folder in the project's own format.

    Raises:
        StudyError: as in `formats.own.read`.
    """
    cfg = own.read_cfg(path)
    return SAE(own.read(path), None if cfg["architecture"] == own.IMPORTED else cfg, device)


def save(path: str | Path, sae: SAE, format: str = "own") -> None:
    """Write an SAE as a folder, in the project's own format or another library's.

    `load` reads it back bit for bit. An SAE of the same format in that folder is overwritten.

    Args:
        path: the folder.
        sae: an SAE from `load` or `train`.
        format: one of `formats.WRITTEN`: own, sparsify, saelens or dictionary_learning.

    Raises:
        StudyError: the format cannot be written or cannot express this SAE, or the folder holds something else.
        TypeError: `sae` is no SAE.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from sae_stability import sae
        >>> rows = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
        >>> trained = sae.train(rows, n_latents=16, k=2, batch_size=64)
        >>> folder = tempfile.mkdtemp()
        >>> sae.save(folder, trained)
        >>> torch.equal(sae.load(folder).decoder, trained.decoder)
        True
        >>> sae.save(folder + "/for-saelens", trained, format="saelens")
        >>> sae.load(folder + "/for-saelens").cfg["format"]
        'saelens'
    """
    if not isinstance(sae, SAE):
        raise TypeError(f"save: the second argument is {type(sae).__name__}; give a folder, then an SAE")
    path = Path(path)
    formats.check_written(format)
    formats.check_free(path, format)
    if format == "own" and sae.trained_here:
        own.write_trained(path, sae.weights, sae.cfg)
    else:
        formats.write(path, sae.weights, format)


def _pre(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    return torch.addmm(sae.encoder_bias, z, sae.encoder.T)


def _topk(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    pre = torch.relu(_pre(sae, z))
    best = pre.topk(sae.k, dim=1, sorted=False)
    return torch.zeros_like(pre).scatter_(1, best.indices, best.values)


def _abstopk(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    pre = _pre(sae, z)
    best = pre.abs().topk(sae.k, dim=1, sorted=False).indices
    return torch.zeros_like(pre).scatter_(1, best, pre.gather(1, best))


def _groupmax(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    groups = torch.relu(_pre(sae, z)).unflatten(1, (sae.k, -1))
    best = groups.max(dim=2, keepdim=True)
    return torch.zeros_like(groups).scatter_(2, best.indices, best.values).flatten(1)


def _relu(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    return torch.relu(_pre(sae, z))


def _jumprelu(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    pre = _pre(sae, z)
    return torch.relu(pre) * (pre > sae.extras["threshold"])


def _gated(sae: SAE, z: torch.Tensor) -> torch.Tensor:
    products = z @ sae.encoder.T
    magnitude = torch.relu(sae.extras["log_magnitude"].exp() * products + sae.encoder_bias)
    return magnitude * (products + sae.extras["gate_bias"] > 0)


_ENCODE = {
    "topk": _topk,
    "abstopk": _abstopk,
    "groupmax": _groupmax,
    "relu": _relu,
    "jumprelu": _jumprelu,
    "gated": _gated,
}
