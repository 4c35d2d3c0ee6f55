"""An SAE on disk in the project's own format, readable without torch.

A folder with `sae.safetensors` and `cfg.json`. Tensors, float32: `encoder` and `decoder` (n_latents, d_model, rows are
latents in both), `encoder_bias` (n_latents,), `decoder_bias` (d_model,), and what the architecture adds. They act on
raw activations: normalisation is folded in, decoder rows have norm 1.
"""

from pathlib import Path

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.files import atomic_alone, read_json, write_json

TENSORS = {"encoder": "nd", "decoder": "nd", "encoder_bias": "n", "decoder_bias": "d"}


def save(path: Path, tensors: dict[str, np.ndarray], cfg: dict) -> None:
    """Write an SAE folder: `sae.safetensors`, then `cfg.json`, which makes it count.

    Args:
        tensors: the four of `TENSORS`, and the architecture's own.
        cfg: at least `architecture`, `n_latents`, `d_model` and `k`.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    check_shapes(path, tensors, cfg, TENSORS)
    (path / "cfg.json").unlink(missing_ok=True)
    with atomic_alone(path / "sae.safetensors") as temporary:
        save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, temporary)
    write_json(path / "cfg.json", cfg)


def read_cfg(path: Path) -> dict:
    """`cfg.json` of an SAE folder.

    Raises:
        StudyError: the folder holds no such file, or it lacks what every SAE states.
    """
    cfg = read_json(Path(path) / "cfg.json")
    needed = ("architecture", "n_latents", "d_model", "k")
    missing = [key for key in needed if key not in cfg] if isinstance(cfg, dict) else list(needed)
    if missing:
        raise StudyError(f"{path}/cfg.json: no {', '.join(missing)}; is this an SAE folder of this project?")
    kinds = {"architecture": str, "n_latents": int, "d_model": int, "k": int | None}
    wrong = [key for key, kind in kinds.items() if not isinstance(cfg[key], kind) or isinstance(cfg[key], bool)]
    if wrong:
        raise StudyError(f"{path}/cfg.json: {wrong[0]} is {cfg[wrong[0]]!r}; the file is damaged")
    allowed = {"n_latents": cfg["n_latents"], "d_model": cfg["d_model"], "k": cfg["n_latents"]}
    wrong = [key for key, most in allowed.items() if cfg[key] is not None and not 1 <= cfg[key] <= most]
    if wrong:
        raise StudyError(f"{path}/cfg.json: {wrong[0]} is {cfg[wrong[0]]}; the file is damaged")
    return cfg


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Tensors of an SAE folder as numpy arrays; torch is not imported.

    Returns:
        `encoder`, `decoder` (n_latents, d_model), `encoder_bias` (n_latents,), `decoder_bias` (d_model,), and the
        architecture's own tensors.

    Raises:
        StudyError: a file is missing, damaged, or its tensors disagree with `cfg.json`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    cfg = read_cfg(path)
    file = Path(path) / "sae.safetensors"
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise StudyError(f"{file}: no such file") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise StudyError(f"{file}: not readable as safetensors ({error}); delete the folder and train again") from None
    check_shapes(path, tensors, cfg, TENSORS)
    return tensors


def check_shapes(path: Path, tensors: dict[str, np.ndarray], cfg: dict, wanted: dict[str, str]) -> None:
    """Raise a `StudyError` unless the wanted tensors are there, float32 and finite, with shapes as in `TENSORS`."""
    sizes = {"n": cfg["n_latents"], "d": cfg["d_model"]}
    for name, letters in wanted.items():
        expected = tuple(sizes[letter] for letter in letters)
        if name not in tensors:
            raise StudyError(f"{path}/sae.safetensors: no tensor {name!r}, found {sorted(tensors)}")
        if tensors[name].shape != expected:
            raise StudyError(
                f"{path}/sae.safetensors: {name} has shape {tensors[name].shape}, but cfg.json says {expected}"
            )
        if tensors[name].dtype != np.float32:
            raise StudyError(f"{path}/sae.safetensors: {name} is {tensors[name].dtype}, expected float32")
        # The ends tell without a copy: NaN is both of them.
        if not np.isfinite((tensors[name].min(), tensors[name].max())).all():
            raise StudyError(f"{path}/sae.safetensors: {name} holds values that are not finite; the file is damaged")
