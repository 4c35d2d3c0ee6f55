"""The verb `consensus`: groups of latents over seeds, the consensus SAE of each level, and how it does."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from sae_stability.activations import reader
from sae_stability.consensus import agreement, curve, dictionary
from sae_stability.consensus.groups import groups
from sae_stability.consensus.heldout import heldout
from sae_stability.consensus.refit import with_refitted
from sae_stability.consensus.sharing import sharing
from sae_stability.consensus.stability import stability, write
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from, read_json, read_table, write_table
from sae_stability.match.overlap_tables import read_pair
from sae_stability.match.threshold import THRESHOLD
from sae_stability.models.source import ModelSource
from sae_stability.ranges import Cosine, Count
from sae_stability.sae.formats import own
from sae_stability.sae.model import SAE
from sae_stability.sae.quality.evaluate import metrics_in_model, reconstruction_metrics, spliced_model
from sae_stability.sae.weights import Weights


def build_consensus(
    *,
    sae: Sequence[tuple[int, Path]],
    match: Sequence[Path],
    latents: Sequence[tuple[int, Path]] = (),
    metrics: Sequence[tuple[int, Path]] = (),
    chunk: Path | None = None,
    tokens: Path | None = None,
    hookpoint: str | None = None,
    model: ModelSource | None = None,
    lm_tokens: Count = 131_072,
    threshold: Cosine = THRESHOLD,
    direction: Literal["mean", "medoid"] = "mean",
    refit: Path | None = None,
    config_hash: str = "",
    activations_hash: str | None = None,
    sae_hash: Sequence[tuple[str, str]] = (),
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
    out: Path,
) -> None:
    """Group the latents of a cohort by their matches, and build the consensus SAE of each level.

    Writes into `out`: `groups.parquet`, `levels.parquet`, `triples.parquet`, `heldout.parquet`, `curve.parquet`,
    `seed-N.parquet` and `seed-N.json` with the stability of each latent, and the consensus SAEs `at-least-M`.

    Args:
        sae: SEED=FOLDER of an SAE of the cohort, in the project's own format; three or more.
        match: match file of a pair of seeds; once for every pair.
        latents: SEED=FILE, the evaluation's table of latents of each seed.
        metrics: SEED=FILE, the evaluation's JSON of each seed.
        chunk: folder of the held-out activations; without it the curve has no errors.
        tokens: held-out token blocks, for the cross-entropy.
        hookpoint: where the SAEs are spliced in, for the cross-entropy.
        model: the model that the SAEs are spliced into, for the cross-entropy.
        lm_tokens: approximate number of tokens that the model runs on.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        direction: how a group becomes a latent: the mean of its members, or the member nearest to the others.
        refit: folder of a chunk of training activations; each consensus SAE is then also measured and written with its
            decoder held and all else trained on this chunk, as the SAEs were: `at-least-M-refitted`.
        config_hash: fingerprint of what the results are made from, recorded in them.
        activations_hash: hash that the activations must record.
        sae_hash: SEED=HASH that an SAE must record.
        threads: processor cores to use.
        device: where to compute.
        out: folder for the results.

    Raises:
        StudyError: fewer than three SAEs, a file is missing or damaged or records another hash, the SAEs are of
            different kinds, or some to refit were trained elsewhere.
    """
    folders = dict(sae)
    if len(folders) < 3:
        raise StudyError(f"consensus: {len(folders)} SAEs given; groups over seeds need at least 3")
    for seed, made_from in sae_hash:
        check_made_from(folders[int(seed)] / "cfg.json", made_from)
    if chunk is not None:
        check_made_from(chunk / "manifest.json", activations_hash)
    torch.set_num_threads(threads)
    saes = dictionary.comparable({seed: own.read(folder) for seed, folder in folders.items()})
    found = sharing(map(read_pair, match), {seed: one.n_latents for seed, one in saes.items()}, threshold)
    table = groups(found)
    built = _written(curve.candidates(saes, table, _rates(latents), direction), out, config_hash)
    if refit is not None:
        built = with_refitted(built, folders, refit, threads, out, config_hash)
    measure = _Measure(chunk, model, tokens, hookpoint, lm_tokens, device)
    for seed in found.seeds:
        others = [other for other in found.seeds if other != seed]
        file = out / f"seed-{seed}.parquet"
        write(stability(found, table, seed), file, others=others, threshold=threshold, config_hash=config_hash)
    tables = {
        "levels": agreement.levels(found, table),
        "triples": agreement.triples(found),
        "heldout": heldout(found, saes, threshold, direction, threads, device),
        "curve": curve.curve(built, measure, _whole(saes, metrics)),
        "groups": table,  # last: by this table a run tells whether all are finished
    }
    _remove_others(out, tables["curve"])
    for name, rows in tables.items():
        write_table(out / f"{name}.parquet", rows, {"config_hash": config_hash, "threshold": threshold})


def _written(found: Iterator[curve.Candidate], out: Path, config_hash: str) -> Iterator[curve.Candidate]:
    """The same SAEs; a consensus SAE is written first."""
    for one in found:
        if one.series == "consensus":
            own.write(out / f"at-least-{one.m}", one.sae, config_hash)
        yield one


def _remove_others(out: Path, curve_table: pd.DataFrame) -> None:
    """Remove the consensus SAEs of other settings, of levels that no group reaches now."""
    endings = {"consensus": "", "refitted": "-refitted"}
    rows = curve_table[curve_table["series"].isin(list(endings))]
    kept = {f"at-least-{m}{endings[series]}" for m, series in zip(rows["m"], rows["series"], strict=True)}
    for old in out.glob("at-least-*"):
        if old.name not in kept:
            shutil.rmtree(old, ignore_errors=True)


class _Measure:
    """Measures SAEs on held-out rows and, if there is a model with a language-model head, in the model."""

    def __init__(self, chunk, model, tokens, hookpoint, lm_tokens, device) -> None:
        self.data = None if chunk is None else reader.Chunk(chunk)
        self.spliced = spliced_model(self.data, model, tokens, device, lm_tokens)
        self.hookpoint, self.device = hookpoint, device

    def __call__(self, weights: Weights) -> dict:
        """`fvu`, `l0` and `ce` of an SAE; NaN where they are not known."""
        if self.data is None:
            return dict.fromkeys(("fvu", "l0", "ce"), np.nan)
        sae = SAE(weights, device=self.device)
        with torch.inference_mode():
            found, _ = reconstruction_metrics(sae, self.data, self.device)
        in_model = metrics_in_model(self.spliced, sae, self.hookpoint, self.data)
        return {"fvu": found["fvu"], "l0": found["l0"], "ce": in_model["ce_sae"]}


def _rates(latents: Sequence[tuple[int, Path]]) -> dict[int, np.ndarray]:
    """How often each latent fires, by seed; empty where one SAE was shown no activations."""
    rates = {int(seed): read_table(path, ["rate"])[0]["rate"].to_numpy(float) for seed, path in latents}
    return {} if any(np.isnan(rate).any() for rate in rates.values()) else rates


def _whole(saes: dict[int, Weights], metrics: Sequence[tuple[int, Path]]) -> list[dict]:
    """What the evaluation says of each whole SAE."""
    found = []
    for seed, path in metrics:
        said, sae = read_json(path), saes[int(seed)]
        quality = {"fvu": said["fvu"], "l0": said["l0"], "ce": said["ce_sae"]}
        found.append({"seed": int(seed), "n_latents": sae.n_latents, "k": sae.k} | quality)
    return found
