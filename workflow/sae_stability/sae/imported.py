"""SAEs of other formats in the project's own: a folder as `checkpoint` writes it, `architecture: imported`."""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.architectures import REGISTRY
from sae_stability.sae.checkpoint import arrays, read_cfg, save
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.weights import OPTIONAL, Weights, checked

ARCHITECTURE = "imported"
_SETTINGS = ("activation", "subtract_decoder_bias", "input_norm")


def save_weights(path: Path, weights: Weights, config_hash: str = "") -> None:
    """Write an SAE folder from weights of any origin."""
    cfg = {"architecture": ARCHITECTURE, "n_latents": weights.n_latents, "d_model": weights.d_model}
    save(path, weights.tensors, cfg | weights.settings | {"origin": weights.origin, "config_hash": config_hash})


def read_weights(path: Path) -> Weights:
    """The weights in a folder that `save_weights` or training wrote.

    Raises:
        StudyError: a file is missing or damaged, or the architecture has no place among `weights.ACTIVATIONS`.
    """
    cfg, tensors = read_cfg(path), arrays(path)
    named = {name: tensors[name] for name in ("encoder", "decoder", "encoder_bias", "decoder_bias")}
    name = cfg["architecture"]
    if name == ARCHITECTURE:
        missing = [key for key in _SETTINGS if key not in cfg]
        if missing:
            raise StudyError(f"{path}/cfg.json: no {', '.join(missing)}, which an imported SAE states")
        if not isinstance(cfg.get("origin", {}), dict):
            raise StudyError(f"{path}/cfg.json: origin must be a mapping")
        optional = {name: tensors[name] for name in OPTIONAL if name in tensors}
        settings = {key: cfg[key] for key in _SETTINGS}
        weights = Weights(**named, **optional, **settings, k=cfg["k"], origin=cfg.get("origin", {}))
    else:
        weights = Weights(**named | _trained(name, tensors, path), k=cfg["k"], origin=_origin(cfg))
    return checked(weights, path)


def _trained(name: str, tensors: dict, path: Path) -> dict:
    """Activation and further tensors of an SAE that was trained here, in the words of `Weights`."""
    if name not in REGISTRY:
        raise StudyError(f"{path}/cfg.json: architecture {name!r} cannot be converted to other formats")
    activation, names = architecture(name).AS_WEIGHTS
    missing = [theirs for theirs in names.values() if theirs not in tensors]
    if missing:
        raise StudyError(f"{path}/sae.safetensors: no tensor {missing[0]!r}, which a {name} SAE needs")
    return {"activation": activation} | {own: tensors[theirs] for own, theirs in names.items()}


def _origin(cfg: dict) -> dict:
    return {key: cfg[key] for key in ("model", "hookpoint", "init_seed") if cfg.get(key) is not None}
