"""The command `train`: train SAEs that differ only in their init seed on one chunk of activations."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sae_stability.errors import StudyError
from sae_stability.files import check_made_from
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count, Index
from sae_stability.sae.training.job import SaeJob
from sae_stability.sae.training.settings import TrainSettings


def train_saes(
    *,
    chunk: Path,
    chunk_index: Index = 0,
    first_chunk_manifest: Path | None = None,
    activations_hash: str | None = None,
    settings: TrainSettings,
    init_seed: Sequence[Index] = (0,),
    previous: Sequence[Path] = (),
    out: Sequence[Path] = (),
    state_out: Sequence[Path] = (),
    checkpoint: Sequence[Path] = (),
    tensorboard: Sequence[Path] = (),
    config_hash: Sequence[str] = (),
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Train an SAE, or several that differ only in their init seed, on one chunk of activations.

    The chunk is read once for all SAEs. Give --init-seed once for each SAE. Give the per-SAE flags (--previous, --out,
    --state-out, --checkpoint, --tensorboard, --config-hash) equally often, in the same order.

    Args:
        chunk: folder of the chunk to train on.
        chunk_index: the chunk's number, from 0.
        first_chunk_manifest: manifest.json of chunk 0, for its mean and scale; not needed for chunk 0.
        activations_hash: hash that the chunk must record.
        settings: hyper-parameters of the training, except the init seed.
        init_seed: seed of the initial weights; repeat for each SAE.
        previous: state file after the chunk before.
        out: folder for the SAE, after the last chunk.
        state_out: file for the state, after any chunk before the last.
        checkpoint: file that a killed job resumes from.
        tensorboard: folder for TensorBoard event files.
        config_hash: hash of what the SAE is made from, recorded in cfg.json.
        threads: processor cores to use.
        device: where to compute.

    Raises:
        StudyError: there is nothing to write, flags contradict each other, or as in `train.train_block`.
    """
    from sae_stability.sae.training.train import train_block  # imported late: mistakes in flags need not wait for torch

    check_made_from(chunk / "manifest.json", activations_hash)
    if not out and not state_out:
        raise StudyError("train: nothing to write; give --out (last chunk) or --state-out (earlier chunks)")
    per_sae = {"previous": previous, "out": out, "state_out": state_out, "checkpoint": checkpoint}
    per_sae |= {"tensorboard": tensorboard, "config_hash": config_hash}
    check_one_each(len(init_seed), "SAEs", **per_sae)
    used = {name: values for name, values in per_sae.items() if values}
    train_block(
        [
            SaeJob(
                settings=dataclasses.replace(settings, init_seed=seed),
                **{name: values[number] for name, values in used.items()},
            )
            for number, seed in enumerate(init_seed)
        ],
        chunk=chunk,
        chunk_index=chunk_index,
        first_chunk_manifest=first_chunk_manifest,
        threads=threads,
        device=device,
    )
