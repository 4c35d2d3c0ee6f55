"""The training that a test kills: a job a chunk, as the workflow runs them. Imported by the processes to be killed."""

import os
import signal
from pathlib import Path

from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.train import train_chunk


def run(folder: Path, chunks: list[Path], settings: TrainSettings, checkpoint_seconds: float = 0.0) -> None:
    """Train on all chunks; what an earlier process finished stays, what it left half-done is taken up."""
    folder.mkdir(exist_ok=True)
    for c, chunk in enumerate(chunks):
        last = c == len(chunks) - 1
        state, out = folder / f"state-{c}.safetensors", folder / "sae"
        if not (out / "cfg.json" if last else state).exists():
            train_chunk(
                chunk=chunk,
                chunk_index=c,
                settings=settings,
                first_chunk_manifest=chunks[0] / "manifest.json",
                previous=folder / f"state-{c - 1}.safetensors" if c else None,
                state_out=None if last else state,
                out=out if last else None,
                checkpoint=folder / "checkpoint.safetensors",
                checkpoint_seconds=checkpoint_seconds,
                progress=False,
            )


def run_to_a_save(folder: Path, chunks: list[Path], settings: TrainSettings, checkpoints: bool) -> None:
    """As `run`, but killed when the first checkpoint, or without any the first state, is written and not yet named.

    A file of safetensors' own lies beside it then, as if that, too, had been in the middle of its work.
    """
    from sae_stability.sae.training import state

    save_file = state.save_file

    def save(tensors, path, metadata):
        save_file(tensors, path, metadata=metadata)
        path.with_name(".tmpA1b2C3").write_bytes(path.read_bytes())
        os.kill(os.getpid(), signal.SIGKILL)

    state.save_file = save
    run(folder, chunks, settings, checkpoint_seconds=0 if checkpoints else 1000)
