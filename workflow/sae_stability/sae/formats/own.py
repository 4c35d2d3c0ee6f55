"""The project's own format, readable without torch: a folder with `sae.safetensors` and `cfg.json`.

Tensors are float32: `encoder` and `decoder` (n_latents, d_model; rows are latents in both), `encoder_bias`
(n_latents,), `decoder_bias` (d_model,), and further tensors of the architecture. They apply to raw activations: the
normalisation of training is folded in. `cfg.json` states at least `architecture`, `n_latents`, `d_model` and `k`. SAEs
trained here have decoder rows of norm 1. SAEs made elsewhere have `architecture: imported`, and their tensors are named
as the fields of `weights.Weights`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sae_stability.errors import StudyError
from sae_stability.files import move, named, read_json, sha256, workplace, write_json
from sae_stability.sae.formats.untrusted import one_line_errors, read_settings
from sae_stability.sae.weights import OPTIONAL, Weights, checked

TENSORS = {"encoder": "nd", "decoder": "nd", "encoder_bias": "n", "decoder_bias": "d"}
IMPORTED = "imported"
WEIGHTS = "sae.safetensors"
# The key of the digest of the weights' file in cfg.json. Folders that other programs write need none.
_DIGEST = "weights_sha256"
_SETTINGS = ("activation", "subtract_decoder_bias", "input_norm")


class Trained(NamedTuple):
    """How saved SAEs of one architecture map to `weights.Weights`.

    Attributes:
        activation: one of `weights.ACTIVATIONS`.
        tensors: field of `Weights` -> name of the saved tensor, of shape (n_latents,). Lists all tensors beside the
            four of `TENSORS`, and those of the four that are saved under another name.
    """

    activation: str
    tensors: dict[str, str]


TRAINED = {
    "topk": Trained("topk", {}),
    "batchtopk": Trained("jumprelu", {"threshold": "threshold"}),
    "matryoshka": Trained("jumprelu", {"threshold": "threshold"}),
    "relu": Trained("relu", {}),
    # A gated SAE saves the gate's bias as `encoder_bias`. In `Weights`, `encoder_bias` is the magnitude's bias.
    "gated": Trained(
        "gated",
        {"encoder_bias": "magnitude_bias", "gate_bias": "encoder_bias", "log_magnitude": "magnitude_scale"},
    ),
    "jumprelu": Trained("jumprelu", {"threshold": "threshold"}),
}
"""Each architecture that can be trained here. This table is not in the training steps' modules, so that a change of a
training step does not import and match released SAEs again."""


def detect(path: Path) -> bool:
    """Whether the folder is in this format, even if a file is missing. A `d_in` in cfg.json means sparsify instead."""
    settings = read_settings(path / "cfg.json") if (path / "cfg.json").is_file() else {}
    known = {"architecture", "n_latents", "d_model"} <= settings.keys()
    return known or ((path / "sae.safetensors").is_file() and "d_in" not in settings)


def shape(path: Path) -> tuple[int, int]:
    """(n_latents, d_model) from cfg.json."""
    cfg = read_cfg(path)
    return cfg["n_latents"], cfg["d_model"]


def read(path: Path) -> Weights:
    """The SAE in a folder written by training or by `write`.

    Raises:
        StudyError: a file is missing or damaged, the tensors disagree with `cfg.json`, or the architecture is unknown.
    """
    with one_line_errors(path):
        tensors, cfg = _saved(path)
        return weights_of(tensors, cfg, path)


def write(path: Path, weights: Weights, config_hash: str = "") -> None:
    """Write an SAE made elsewhere, with any activation, as a folder of this format.

    Raises:
        StudyError: as in `save`.
    """
    cfg = {"architecture": IMPORTED, "n_latents": weights.n_latents, "d_model": weights.d_model}
    save(path, weights.tensors, cfg | weights.settings | {"origin": weights.origin, "config_hash": config_hash})


def write_trained(path: Path, weights: Weights, cfg: dict) -> None:
    """Write an SAE trained here, with the same files that training writes.

    Args:
        cfg: the contents of its `cfg.json`.

    Raises:
        StudyError: as in `save`.
    """
    names = TRAINED[cfg["architecture"]].tensors
    fields = ["encoder", "decoder", "encoder_bias", "decoder_bias", *names]
    save(path, {names.get(field, field): getattr(weights, field) for field in fields}, cfg)


def save(path: Path, tensors: dict[str, np.ndarray], cfg: dict) -> None:
    """Write an SAE folder: `sae.safetensors`, then `cfg.json`, which marks the folder as complete.

    `cfg.json` gets a `weights_sha256`, so new weights beside old settings are never believed.

    Args:
        path: the folder.
        tensors: the four of `TENSORS`, and further tensors of the architecture.
        cfg: at least `architecture`, `n_latents`, `d_model` and `k`.

    Raises:
        StudyError: a tensor is missing, not float32, not finite, or of another shape than `cfg` says.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    check_shapes(path, tensors, cfg, TENSORS)
    file = path / WEIGHTS
    with workplace(file) as folder, named(file):
        save_file({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, folder / WEIGHTS)
        digest = sha256(folder / WEIGHTS)
        move(folder / WEIGHTS, file)
    write_json(path / "cfg.json", cfg | {_DIGEST: digest})


def read_cfg(path: Path) -> dict:
    """`cfg.json` of an SAE folder.

    Raises:
        StudyError: there is no such file, or a required key is missing or has an impossible value.
    """
    read_settings(Path(path) / "cfg.json")  # refuses what `detect` refuses, in the same words
    cfg = read_json(Path(path) / "cfg.json")
    needed = ("architecture", "n_latents", "d_model", "k")
    missing = [key for key in needed if key not in cfg]
    if missing:
        raise StudyError(f"{path}/cfg.json: no {', '.join(missing)}; is this an SAE folder of this project?")
    kinds = {"architecture": str, "n_latents": int, "d_model": int, "k": int | None}
    # An SAE trained here states these too.
    kinds |= {key: kind for key, kind in (("init_seed", int), ("hookpoint", str)) if key in cfg}
    wrong = [key for key, kind in kinds.items() if not isinstance(cfg[key], kind) or isinstance(cfg[key], bool)]
    if wrong:
        raise StudyError(f"{path}/cfg.json: {wrong[0]} is {cfg[wrong[0]]!r}; the file is damaged")
    allowed = {"n_latents": cfg["n_latents"], "d_model": cfg["d_model"], "k": cfg["n_latents"]}
    wrong = [key for key, most in allowed.items() if cfg[key] is not None and not 1 <= cfg[key] <= most]
    if wrong:
        raise StudyError(f"{path}/cfg.json: {wrong[0]} is {cfg[wrong[0]]}; the file is damaged")
    return cfg


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The tensors of an SAE folder as numpy arrays by the names they are saved under, without importing torch.

    What `read` refuses is refused here too.

    Returns:
        `encoder`, `decoder` (n_latents, d_model), `encoder_bias` (n_latents,), `decoder_bias` (d_model,), and
        further tensors of the architecture.

    Raises:
        StudyError: as in `read`.
    """
    with one_line_errors(path):
        tensors, cfg = _saved(path)
        weights_of(tensors, cfg, path)
        return tensors


def _saved(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The tensors of a folder and its `cfg.json`, after a check of shapes, types and the digest."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    cfg = read_cfg(path)
    file = Path(path) / WEIGHTS
    try:
        tensors = load_file(file)
    except FileNotFoundError:
        raise StudyError(f"{file}: no such file") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise StudyError(f"{file}: not readable as safetensors ({error}); delete the folder and run again") from None
    try:
        check_shapes(path, tensors, cfg, TENSORS)
    except StudyError as error:
        raise StudyError(f"{error}; delete the folder and run again") from None
    if _DIGEST in cfg and sha256(file) != cfg[_DIGEST]:
        raise StudyError(f"{file}: damaged or changed, cfg.json states another digest; delete {path} and run again")
    return tensors, cfg


def weights_of(tensors: dict[str, np.ndarray], cfg: dict, where: object) -> Weights:
    """The saved tensors and settings of an SAE as `Weights`.

    Args:
        where: folder that error messages name.

    Raises:
        StudyError: a tensor is missing or of the wrong shape, or the architecture is unknown.
    """
    named = {name: tensors[name] for name in TENSORS}
    if cfg["architecture"] == IMPORTED:
        named |= {name: tensors[name] for name in OPTIONAL if name in tensors}
        return checked(Weights(**named, **_imported_settings(cfg, where), k=cfg["k"]), where)
    if cfg["architecture"] not in TRAINED:
        known = ", ".join([*TRAINED, IMPORTED])
        raise StudyError(f"{where}/cfg.json: architecture {cfg['architecture']!r} is not known; allowed: {known}")
    if cfg["k"] is None:
        raise StudyError(f"{where}/cfg.json: k is null; a {cfg['architecture']} SAE needs a k")
    activation, names = TRAINED[cfg["architecture"]]
    check_shapes(where, tensors, cfg, dict.fromkeys(names.values(), "n"))
    named |= {field: tensors[name] for field, name in names.items()}
    origin = {key: cfg[key] for key in ("model", "hookpoint", "init_seed") if cfg.get(key) is not None}
    return checked(Weights(**named, activation=activation, k=cfg["k"], origin=origin), where)


def check_shapes(where: object, tensors: dict[str, np.ndarray], cfg: dict, wanted: dict[str, str]) -> None:
    """Check that the tensors in `wanted` exist, are float32 and finite, and have the right shapes.

    Args:
        where: folder that error messages name.
        cfg: gives `n_latents` and `d_model`.
        wanted: name of a tensor -> its shape in the letters of `TENSORS` (n is n_latents, d is d_model).

    Raises:
        StudyError: a tensor fails a check.
    """
    sizes = {"n": cfg["n_latents"], "d": cfg["d_model"]}
    for name, letters in wanted.items():
        expected = tuple(sizes[letter] for letter in letters)
        if name not in tensors:
            raise StudyError(f"{where}/sae.safetensors: no tensor {name!r}, found {sorted(tensors)}")
        if tensors[name].shape != expected:
            raise StudyError(
                f"{where}/sae.safetensors: {name} has shape {tensors[name].shape}, but cfg.json says {expected}"
            )
        if tensors[name].dtype != np.float32:
            raise StudyError(f"{where}/sae.safetensors: {name} is {tensors[name].dtype}, expected float32")
        # Minimum and maximum find NaN (both become NaN) and infinity without a copy of the tensor.
        if not np.isfinite((tensors[name].min(), tensors[name].max())).all():
            raise StudyError(f"{where}/sae.safetensors: {name} holds values that are not finite; the file is damaged")


def _imported_settings(cfg: dict, where: object) -> dict:
    missing = [key for key in _SETTINGS if key not in cfg]
    if missing:
        raise StudyError(f"{where}/cfg.json: no {', '.join(missing)}, which every imported SAE has")
    if not isinstance(cfg.get("origin", {}), dict):
        raise StudyError(f"{where}/cfg.json: origin must be a mapping")
    return {key: cfg[key] for key in _SETTINGS} | {"origin": cfg.get("origin", {})}
