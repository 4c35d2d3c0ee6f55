"""Write a finished training as an SAE folder."""

from pathlib import Path

import numpy as np
import torch

from sae_stability.files import write_json, write_table
from sae_stability.sae.formats import own
from sae_stability.sae.training.history import History
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import Step


def export(
    out: Path,
    training: Step,
    history: History,
    settings: TrainSettings,
    normalisation: Normalisation,
    manifest: dict,
    config_hash: str,
    timing: dict,
) -> None:
    """Write the SAE folder: weights, history, metrics, times. `cfg.json` comes last and marks the folder as complete.

    Args:
        out: the folder.
        manifest: the manifest of the first chunk.
        config_hash: recorded in `cfg.json`.
        timing: how long training took, and on what.

    Raises:
        StudyError: the weights are not finite.
    """
    weights = normalisation.fold({name: value.numpy() for name, value in training.weights().items()})
    table = history.table()
    last = table.iloc[-1]
    metrics = {name: float(last[name]) for name in ("fvu", "auxk", "l0", "dead_fraction")}
    metrics |= {"steps": int(last["step"]), "tokens": int(last["tokens"]), "spikes": history.spikes.count}
    metrics |= {"batches_sha256": history.digest.hex()}
    write_json(out / "metrics.json", metrics)
    write_json(out / "timing.json", timing)
    write_table(out / "history.parquet", table)
    own.save(out, weights, _cfg(settings, normalisation, manifest) | {"config_hash": config_hash})


def _cfg(settings: TrainSettings, normalisation: Normalisation, manifest: dict) -> dict:
    import numba
    import safetensors

    cfg = {"architecture": settings.architecture, "n_latents": settings.n_latents, "d_model": manifest["d_model"]}
    cfg |= {"k": settings.k, "hookpoint": settings.hookpoint, "model": manifest["model"]}
    cfg |= {"revision": manifest.get("revision")}
    cfg |= settings.record() | {"effective_learning_rate": settings.peak_learning_rate}
    cfg |= {"schedule": "linear warm-up, linear decay to 0", "normalisation_scale": normalisation.scale}
    versions = {package.__name__: package.__version__ for package in (np, numba, safetensors, torch)}
    return cfg | {"versions": versions}
