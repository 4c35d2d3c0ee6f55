"""SAEs with given decoder rows, whose other weights are trained."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.sae.formats import own
from sae_stability.sae.model import SAE
from sae_stability.sae.training.controls import controlled
from sae_stability.sae.training.normalisation import Normalisation
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps import architecture
from sae_stability.sae.training.workers import Workers


def retrained(cfg: dict, directions: np.ndarray, chunk: Path, threads: int) -> SAE:
    """An SAE with these decoder rows, (n_latents, d), held fixed, and the rest trained as `cfg` says.

    Settings, steps and order of the rows are those of the SAE whose `cfg` it is. The encoder starts as the directions.
    """
    names = {field.name for field in dataclasses.fields(TrainSettings)}
    settings = TrainSettings(
        **{name: value for name, value in cfg.items() if name in names} | {"control": "frozen-decoder"}
    )
    data = reader.Chunk(chunk)
    normalisation = Normalisation.from_manifest(settings.normalisation, data.manifest)
    weights = {
        "encoder": directions / np.float32(3**0.5),  # about the norm of initial encoder rows
        "decoder": directions,
        "encoder_bias": np.zeros(len(directions), np.float32),
        "decoder_bias": ((data.mean.numpy() - normalisation.mean) / normalisation.scale).astype(np.float32),
    }
    with Workers(threads) as workers:
        make_step = architecture(settings.architecture).make_step
        training = make_step(weights, settings, normalisation, torch.device("cpu"), workers)
        training = controlled(training, settings.control)
        batches = reader.batches(
            chunk,
            batch_size=settings.batch_size,
            rows=min(settings.chunk_rows(0), data.rows),
            order_seed=settings.order_seed,
            steps=settings.total_steps,
        )
        for step, batch in enumerate(batches):
            training.step(batch, settings.rate(step))
        tensors = normalisation.fold({name: value.numpy() for name, value in training.weights().items()})
    return SAE(own.weights_of(tensors, cfg, chunk))
