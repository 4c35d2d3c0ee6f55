"""A training job's request, validated before training starts."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sae_stability.activations.reader import Chunk
from sae_stability.errors import StudyError
from sae_stability.sae.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class SaeJob:
    """One SAE of a training job: its settings and paths. `train.train_chunk` explains the fields."""

    settings: TrainSettings
    previous: Path | None = None
    out: Path | None = None
    state_out: Path | None = None
    checkpoint: Path | None = None
    tensorboard: Path | None = None
    config_hash: str = ""


def check_together(saes: Sequence[SaeJob]) -> None:
    """Check that SAEs trained together differ in the init seed, in no other setting, and in every path they write.

    Raises:
        StudyError: they differ in another setting, or share a seed or a path.
    """
    settings = [asdict(sae.settings) for sae in saes]
    names = [
        name for name in settings[0] if name != "init_seed" and any(s[name] != settings[0][name] for s in settings)
    ]
    if names:
        raise StudyError(f"SAEs trained together must differ only in init_seed; these differ in {', '.join(names)}")
    paths = [path for sae in saes for path in (sae.out, sae.state_out, sae.checkpoint) if path]
    for name, values in (("init_seed", [s["init_seed"] for s in settings]), ("path", paths)):
        if repeated := [value for value in values if values.count(value) > 1]:
            raise StudyError(
                f"SAEs trained together: the {name} {repeated[0]} is given for two SAEs; give each its own"
            )


def check_outputs(sae: SaeJob) -> None:
    """Check that every output can be written, before hours of training.

    Raises:
        StudyError: a path is a file instead of a folder or the reverse, or cannot be written.
    """
    for path in map(Path, filter(None, (sae.out, sae.tensorboard))):
        if path.exists() and not path.is_dir():
            raise StudyError(f"{path}: is not a folder; give a folder")
        _check_writable(path, [path, *path.parents])
    for path in map(Path, filter(None, (sae.state_out, sae.checkpoint))):
        if path.exists() and not path.is_file():
            raise StudyError(f"{path}: is not a file; give the path of a file")
        _check_writable(path, path.parents)


def check_chunk(sae: SaeJob, data: Chunk, chunk_index: int) -> None:
    """Check that the settings and the state of an SAE fit the chunk.

    Raises:
        StudyError: they do not fit.
    """
    settings = sae.settings
    if not 0 <= chunk_index < settings.n_chunks:
        raise StudyError(f"chunk {chunk_index}: training has chunks 0 to {settings.n_chunks - 1}")
    if (sae.previous is None) != (chunk_index == 0):
        raise StudyError(
            f"chunk {chunk_index}: the state after the chunk before must be given, except for chunk 0, which has none"
        )
    if sae.out is not None and chunk_index != settings.n_chunks - 1:
        raise StudyError(f"chunk {chunk_index}: the SAE is written only after the last chunk, {settings.n_chunks - 1}")
    if data.rows < settings.batch_size:
        raise StudyError(f"{data.path}: {data.rows} rows, fewer than one batch of {settings.batch_size}")
    # A chunk may be short by the rows that were left out of it; some rows are then read once more instead.
    wanted = settings.chunk_rows(chunk_index)
    if data.rows + data.left_out < wanted:
        raise StudyError(
            f"{data.path}: {data.rows:,} rows, but tokens, epochs and chunk_tokens give chunk {chunk_index} {wanted:,} "
            "rows; change these settings, or give the right chunk"
        )


def _check_writable(path: Path, candidates: Sequence[Path]) -> None:
    """Try to make a folder in the first of `candidates` that exists, since permissions alone are not conclusive."""
    existing = next(folder for folder in candidates if folder.exists())
    try:
        tempfile.TemporaryDirectory(dir=existing).cleanup()
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({existing}: {error.strerror}); give another path") from None
