"""The training that a test kills: a job a chunk, as the workflow runs them. Imported by the processes to be killed."""

from pathlib import Path

from sae_stability.sae.settings import TrainSettings
from sae_stability.sae.train import train_chunk


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
