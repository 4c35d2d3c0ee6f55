"""The verb `train`: SAEs that differ in their init seed alone, on one chunk of activations."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sae_stability.arguments import check_one_each
from sae_stability.errors import StudyError
from sae_stability.files import check_made_from
from sae_stability.sae.training.job import SaeJob
from sae_stability.sae.training.settings import TrainSettings


def train_saes(
    *,
    chunk: Path,
    chunk_index: int = 0,
    first_chunk_manifest: Path | None = None,
    activations_hash: str | None = None,
    settings: TrainSettings,
    init_seed: Sequence[int] = (0,),
    previous: Sequence[Path] = (),
    out: Sequence[Path] = (),
    state_out: Sequence[Path] = (),
    checkpoint: Sequence[Path] = (),
    tensorboard: Sequence[Path] = (),
    config_hash: Sequence[str] = (),
    threads: int = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Train an SAE on one chunk of activations; or several that differ in their init seed, reading the chunk once.

    Give --init-seed once for each SAE, and the flags after it as often, in the same order.

    Args:
        chunk: folder of the chunk to train on.
        chunk_index: the chunk's number, from 0.
        first_chunk_manifest: chunk 0's manifest.json, for its mean and scale.
        activations_hash: what the chunk must have been made from.
        settings: what decides the weights, apart from the activations and the init seed.
        init_seed: seed of the initial weights; once for each SAE.
        previous: state after the chunk before.
        out: folder for the SAE, after the last chunk.
        state_out: file for the state, after any chunk before the last.
        checkpoint: file that a killed job resumes from.
        tensorboard: folder for TensorBoard event files.
        config_hash: what the SAE was made from.
        threads: processor cores to use.
        device: where to compute.

    Raises:
        StudyError: nothing to write, flags that do not go together, or as in `train.train_block`.
    """
    from sae_stability.sae.training.train import train_block  # torch, which a mistake in the flags need not wait for

    check_made_from(chunk / "manifest.json", activations_hash)
    if not out and not state_out:
        raise StudyError("train: nothing to write; give --out (last chunk) or --state-out (any chunk before)")
    each = {"previous": previous, "out": out, "state_out": state_out, "checkpoint": checkpoint}
    each |= {"tensorboard": tensorboard, "config_hash": config_hash}
    check_one_each(len(init_seed), "SAEs", **each)
    own = {name: values for name, values in each.items() if values}
    train_block(
        [
            SaeJob(
                settings=dataclasses.replace(settings, init_seed=seed),
                **{name: values[number] for name, values in own.items()},
            )
            for number, seed in enumerate(init_seed)
        ],
        chunk=chunk,
        chunk_index=chunk_index,
        first_chunk_manifest=first_chunk_manifest,
        threads=threads,
        device=device,
    )
