"""Evaluate SAEs on held-out rows, with the same formulas for every SAE."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, write_json, write_table
from sae_stability.models.headers import has_lm_head
from sae_stability.models.source import ModelSource
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count
from sae_stability.sae.model import SAE, load_own
from sae_stability.sae.training.initial_weights import initial_weights

if TYPE_CHECKING:
    from sae_stability.sae.quality.language_model import SplicedModel

RARE_RATE = 1e-4
_BLOCK_ENTRIES = 1 << 20  # latent activations held at once, 4 MiB: larger blocks would get new memory pages each time
_BLOCK_ROWS = 256  # at least this many rows, so that matrix products stay efficient
RECONSTRUCTION_METRICS = ("fvu", "l0", "dead_fraction", "rare_fraction")
LANGUAGE_METRICS = (
    "ce_clean",
    "ce_sae",
    "ce_zero",
    "ce_mean",
    "ce_recovered_zero",
    "ce_recovered_mean",
    "kl",
    "ce_tokens",
)


def evaluate(
    *,
    sae: Sequence[Path],
    chunk: Path | None = None,
    tokens: Path | None = None,
    hookpoint: str | None = None,
    out_json: Sequence[Path],
    out_parquet: Sequence[Path],
    config_hash: Sequence[str] = (),
    activations_hash: str | None = None,
    sae_hash: Sequence[str] = (),
    model: ModelSource | None = None,
    lm_tokens: Count = 131_072,
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> list[dict]:
    """Evaluate SAEs of one hookpoint on held-out rows and, if the model has a language-model head, inside the model.

    - fvu = sum ||x - x_hat||^2 / sum ||x - mean(x)||^2 over the held-out rows, where mean(x) is their own mean. Sums
      are float64. (Other libraries average over batches, or over variances per row.)
    - l0: mean number of latents that fire on a row.
    - dead_fraction: share of latents that never fire on these rows.
    - rare_fraction: share of latents that fire on fewer than 1 in 10,000 rows, the dead included.
    - `ce_*` and `kl`: see `language_model.SplicedModel.metrics`. Null without a model or without a language-model head.

    Args:
        sae: folder of an SAE; repeat for each SAE. The model is loaded once for all.
        chunk: folder of the held-out activations; its manifest also says at which tokens the SAE is spliced in. Without
            it, as for some SAEs made elsewhere, all metrics are null and every latent counts as alive.
        tokens: held-out token blocks, for the cross-entropy.
        hookpoint: where the SAEs are spliced in; by default each SAE's own hookpoint.
        out_json: file for the metrics (`fvu`, `l0`, ..., `kl`), `n_rows` and `config_hash`; one per SAE, in the order
            of --sae.
        out_parquet: file for the table of latents; one per SAE, in the order of --sae. One row per latent: `latent`,
            `fired` (number of rows), `rate`, `mean_activation` (over rows where it fires; NaN if never), `alive`,
            `init_similarity_encoder` and `init_similarity_decoder` (cosine with the latent's initial row; NaN if the
            SAE's seed is unknown).
        config_hash: hash of what the evaluation is made from; one per SAE.
        activations_hash: hash that the chunk must record.
        sae_hash: hash that the SAE must record; one per SAE.
        model: the model that the SAEs are spliced into, for the cross-entropy.
        lm_tokens: approximate number of tokens of the held-out blocks that the model runs on.
        threads: processor cores to use.
        device: where to compute.

    Returns:
        The contents of each `out_json`.

    Raises:
        StudyError: a file is missing or damaged or records another hash, or SAE and chunk have different widths.
    """
    if chunk is not None:
        check_made_from(chunk / "manifest.json", activations_hash)
    lists = {"out_json": out_json, "out_parquet": out_parquet, "config_hash": config_hash, "sae_hash": sae_hash}
    check_one_each(len(sae), "SAEs", **lists)
    for folder, made_from in zip(sae, sae_hash, strict=False):
        check_made_from(folder / "cfg.json", made_from)
    torch.set_num_threads(threads)
    data = None if chunk is None else reader.Chunk(chunk)
    spliced = spliced_model(data, model, tokens, device, lm_tokens)
    results = []
    for folder, json, parquet, made_from in zip(
        sae, out_json, out_parquet, config_hash or [""] * len(sae), strict=True
    ):
        loaded = load_own(folder, device)
        if data is not None and data.d_model != loaded.d_model:
            raise StudyError(f"{folder}: has width {loaded.d_model}, but {chunk} has width {data.d_model}")
        metrics, latents = _unknown_metrics(loaded) if data is None else reconstruction_metrics(loaded, data, device)
        in_model = metrics_in_model(spliced, loaded, hookpoint, data)
        write_table(parquet, latents.assign(**_init_similarity(loaded)), {"config_hash": made_from})
        results.append(metrics | in_model | {"config_hash": made_from})
        write_json(json, results[-1])
    return results


def spliced_model(
    data: reader.Chunk | None, model: ModelSource | None, tokens: Path | None, device: str, lm_tokens: int
) -> "SplicedModel | None":
    """The model to splice SAEs into; None without held-out activations, model, tokens or language-model head."""
    if data is None or model is None or tokens is None or not _has_language_head(model):
        return None
    from sae_stability.sae.quality.language_model import SplicedModel  # late: it takes transformers

    return SplicedModel.load(Path(tokens), model, device, max_tokens=lm_tokens)


def metrics_in_model(
    spliced: "SplicedModel | None", sae: SAE, hookpoint: str | None, data: reader.Chunk | None
) -> dict[str, float | None]:
    """The `LANGUAGE_METRICS` of an SAE; all None without a model."""
    if spliced is None:
        return dict.fromkeys(LANGUAGE_METRICS)
    keep_special, max_norm = data.manifest.get("keep_special", False), data.manifest.get("max_norm")
    place = hookpoint or sae.cfg["hookpoint"]
    return spliced.metrics(sae, place, data.mean, keep_special=keep_special, max_norm=max_norm)


def _unknown_metrics(sae: SAE):
    """Metrics and table of latents without held-out activations: all unknown, and every latent counts as alive."""
    import pandas as pd

    unknown = np.full(len(sae.encoder), np.nan)
    columns = {"latent": np.arange(len(unknown)), "fired": unknown, "rate": unknown, "mean_activation": unknown}
    return dict.fromkeys(RECONSTRUCTION_METRICS) | {"n_rows": 0}, pd.DataFrame(columns | {"alive": True})


def _has_language_head(model: ModelSource) -> bool:
    """Whether the model has a language-model head. Imports transformers only if the model's files do not say."""
    known = has_lm_head(model)
    if known is None:
        from sae_stability.models.loading import head_kind, model_config

        known = head_kind(model_config(model)) is not None
    return known


def reconstruction_metrics(sae: SAE, data: reader.Chunk, device: str):
    """The `RECONSTRUCTION_METRICS` with `n_rows`, and the table of latents, as `evaluate` defines them.

    Raises:
        StudyError: the rows, or what the SAE makes of them, are not finite.
    """
    import pandas as pd

    n_latents = len(sae.encoder)
    fired = torch.zeros(n_latents, dtype=torch.int64, device=device)
    activation = torch.zeros(n_latents, dtype=torch.float64, device=device)
    shift = data.mean.to(device)  # a shift near the mean avoids cancellation in the variance below
    rows, total = 0, torch.zeros(data.d_model, dtype=torch.float64, device=device)
    squares = torch.zeros(2, dtype=torch.float64, device=device)  # of the errors, and of the shifted rows
    for activations, _ in reader.rows(data.path):
        for x in activations.split(max(_BLOCK_ROWS, _BLOCK_ENTRIES // n_latents)):
            x = x.to(device)
            latents = sae.encode(x)
            fired += (latents != 0).sum(0)  # activations below 0 count too: some imported SAEs keep signs
            activation += latents.sum(0, dtype=torch.float64)
            squares[0] += (sae.reconstruct(latents, x) - x).square().sum(dtype=torch.float64)
            squares[1] += (x - shift).square().sum(dtype=torch.float64)
            total += (x - shift).sum(0, dtype=torch.float64)
            rows += len(x)
    loss, square = squares.tolist()
    if not math.isfinite(loss + square + float(activation.sum())):
        raise StudyError(
            f"{data.path}: these rows, or what the SAE makes of them, are not finite; delete the folder and the SAE's, "
            "and run again"
        )
    variance = square - float(total.square().sum()) / rows
    count, activation = fired.cpu().numpy(), activation.cpu().numpy()
    metrics = {
        "fvu": loss / variance if variance > 0 else None,
        "l0": float(count.sum() / rows),
        "dead_fraction": float((count == 0).mean()),
        "rare_fraction": float((count < RARE_RATE * rows).mean()),
        "n_rows": rows,
    }
    mean_activation = np.divide(activation, count, out=np.full(n_latents, np.nan), where=count > 0)
    columns = {"latent": np.arange(n_latents), "fired": count, "rate": count / rows}
    return metrics, pd.DataFrame(columns | {"mean_activation": mean_activation, "alive": count > 0})


def _init_similarity(sae: SAE) -> dict[str, np.ndarray]:
    """Cosine of every latent's encoder and decoder row with its initial row, which is drawn again from the seed."""
    n_latents, d_model = sae.encoder.shape
    if "init_seed" not in sae.cfg:
        return {f"init_similarity_{side}": np.full(n_latents, np.nan) for side in ("encoder", "decoder")}
    initial = initial_weights(n_latents, d_model, sae.cfg["init_seed"], sae.cfg["hookpoint"])
    similarity = {}
    for side in ("encoder", "decoder"):
        trained_rows = getattr(sae, side).cpu().numpy().astype(np.float64)
        initial_rows = initial[side].astype(np.float64)
        norms = np.linalg.norm(trained_rows, axis=1) * np.linalg.norm(initial_rows, axis=1)
        similarity[f"init_similarity_{side}"] = (trained_rows * initial_rows).sum(axis=1) / np.maximum(norms, 1e-30)
    return similarity
