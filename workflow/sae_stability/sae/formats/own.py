"""The project's own format: `sae.safetensors` and `cfg.json`; see `sae.checkpoint`."""

from pathlib import Path

from sae_stability.sae.checkpoint import read_cfg
from sae_stability.sae.formats.untrusted import read_settings
from sae_stability.sae.imported import read_weights, save_weights
from sae_stability.sae.weights import Weights


def detect(path: Path) -> bool:
    """Whether the folder is one of this project's, even if a file is missing: not with sparsify's `d_in`."""
    settings = read_settings(path / "cfg.json") if (path / "cfg.json").is_file() else {}
    known = {"architecture", "n_latents", "d_model"} <= settings.keys()
    return known or ((path / "sae.safetensors").is_file() and "d_in" not in settings)


def read(path: Path) -> Weights:
    """The SAE in a folder that training or `write` made."""
    return read_weights(path)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model), as the settings give them."""
    cfg = read_cfg(path)
    return cfg["n_latents"], cfg["d_model"]


def write(path: Path, weights: Weights, config_hash: str = "") -> None:
    """Write an SAE folder, whatever the activation."""
    save_weights(path, weights, config_hash)
