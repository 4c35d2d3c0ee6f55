"""Write chunks of activations with a planted dictionary, without a model."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sae_stability.files import sha256


def planted_dictionary(n_features: int, d_model: int, seed: int = 0) -> np.ndarray:
    """Unit rows (n_features, d_model)."""
    rows = np.random.default_rng(seed).normal(size=(n_features, d_model))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted_rows(dictionary: np.ndarray, rows: int, active: int, seed: int) -> np.ndarray:
    """Sums of `active` random features with coefficients in [0.5, 1.5], plus a constant offset of 0.3."""
    random = np.random.default_rng(seed)
    chosen = random.random((rows, len(dictionary))).argpartition(active, axis=1)[:, :active]
    codes = np.zeros((rows, len(dictionary)), np.float32)
    np.put_along_axis(codes, chosen, random.random((rows, active), np.float32) + np.float32(0.5), axis=1)
    return codes @ dictionary + np.float32(0.3)


def write_chunk(folder: Path, activations: np.ndarray, shards: int = 3, sizes: list[int] | None = None) -> Path:
    """A chunk folder of `activations` (rows, d_model) float32, in equal shards or in shards of `sizes` rows."""
    folder.mkdir(parents=True)
    entries = []
    cuts = np.cumsum(sizes)[:-1] if sizes else shards
    for number, part in enumerate(np.array_split(np.arange(len(activations)), cuts)):
        name = f"shard-{number:04d}.safetensors"
        save_file({"activations": activations[part], "token_index": part.astype(np.int64)}, folder / name)
        entries.append({"name": name, "rows": len(part), "sha256": sha256(folder / name)})
    mean = activations.mean(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # tests plant infinities
        norms = np.linalg.norm(activations - mean, axis=1)
    manifest = {
        "format": "sae-stability activations 1",
        "model": "planted",
        "revision": None,
        "hookpoint": "here",
        "dtype": "float32",
        "d_model": activations.shape[1],
        "rows": len(activations),
        "context_length": 1,
        "config_hash": "0",
        "shards": entries,
        "mean": mean.tolist(),
        "mean_squared_norm": float((activations**2).sum(axis=1).mean()),
        "mean_centred_norm": float(norms.mean()),
        "median_norm": float(np.median(np.linalg.norm(activations, axis=1))),
        "dropped": {"special": 0, "padding": 0, "sink": 0},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
