"""The training that tests kill: one job per chunk, as in the workflow. Imported by the processes to be killed."""

import os
import signal
from pathlib import Path

from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.train import train_chunk


def run(folder: Path, chunks: list[Path], settings: TrainSettings, checkpoint_seconds: float = 0.0) -> None:
    """Train on all chunks. Chunks that an earlier process finished are skipped; an unfinished one is resumed."""
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
    """As `run`, but killed when the first checkpoint, or state, is written but not yet renamed.

    A temporary file as safetensors makes it is left beside it, as if safetensors were killed while writing.
    """
    from sae_stability.sae.training import state

    save_file = state.save_file

    def save(tensors, path, metadata):
        save_file(tensors, path, metadata=metadata)
        path.with_name(".tmpA1b2C3").write_bytes(path.read_bytes())
        os.kill(os.getpid(), signal.SIGKILL)

    state.save_file = save
    run(folder, chunks, settings, checkpoint_seconds=0 if checkpoints else 1000)
