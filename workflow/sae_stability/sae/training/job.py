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
    """One SAE of a training job: its settings, and the paths that it reads and writes, as in `train.train_chunk`."""

    settings: TrainSettings
    previous: Path | None = None
    out: Path | None = None
    state_out: Path | None = None
    checkpoint: Path | None = None
    tensorboard: Path | None = None
    config_hash: str = ""


def check_together(saes: Sequence[SaeJob]) -> None:
    """SAEs that are trained together must differ in the init seed, in nothing else, and write to their own paths.

    Raises:
        StudyError: they do not.
    """
    settings = [asdict(sae.settings) for sae in saes]
    names = [
        name for name in settings[0] if name != "init_seed" and any(s[name] != settings[0][name] for s in settings)
    ]
    if names:
        raise StudyError(f"SAEs trained together must differ in init_seed alone; these differ in {', '.join(names)}")
    paths = [path for sae in saes for path in (sae.out, sae.state_out, sae.checkpoint) if path]
    for what, values in (("init_seed", [s["init_seed"] for s in settings]), ("path", paths)):
        if twice := [value for value in values if values.count(value) > 1]:
            raise StudyError(f"SAEs trained together: the {what} {twice[0]} is given for two of them")


def check_places(sae: SaeJob) -> None:
    """Check that every output can be written, before hours of training.

    Raises:
        StudyError: a path is of the wrong kind, or nothing can be written there.
    """
    for path in map(Path, filter(None, (sae.out, sae.tensorboard))):
        if path.exists() and not path.is_dir():
            raise StudyError(f"{path}: is no folder; name a folder")
        _check_writable(path, [path, *path.parents])
    for path in map(Path, filter(None, (sae.state_out, sae.checkpoint))):
        if path.exists() and not path.is_file():
            raise StudyError(f"{path}: is no file; name a file")
        _check_writable(path, path.parents)


def check_chunk(sae: SaeJob, data: Chunk, chunk_index: int) -> None:
    """The settings and the state of an SAE must fit the chunk.

    Raises:
        StudyError: they do not.
    """
    settings = sae.settings
    if not 0 <= chunk_index < settings.n_chunks:
        raise StudyError(f"chunk {chunk_index}: training has chunks 0 to {settings.n_chunks - 1}")
    if (sae.previous is None) != (chunk_index == 0):
        raise StudyError(
            f"chunk {chunk_index}: the state after chunk {chunk_index - 1} must be given, for chunk 0 none"
        )
    if sae.out is not None and chunk_index != settings.n_chunks - 1:
        raise StudyError(f"chunk {chunk_index}: an SAE is written after the last chunk, {settings.n_chunks - 1}")
    if data.rows < settings.batch_size:
        raise StudyError(f"{data.path}: {data.rows} rows, fewer than one batch of {settings.batch_size}")
    # Sinks were left out of a chunk of the length asked for; in their place some rows are read once more.
    wanted = settings.chunk_rows(chunk_index)
    if data.rows + data.sinks < wanted:
        raise StudyError(
            f"{data.path}: {data.rows:,} rows, but by tokens, epochs and chunk_tokens chunk {chunk_index} has "
            f"{wanted:,}; give those that fit it, or the chunk that they are for"
        )


def _check_writable(path: Path, candidates: Sequence[Path]) -> None:
    """Try to make a folder in the first of `candidates` that exists; permissions alone do not tell."""
    there = next(folder for folder in candidates if folder.exists())
    try:
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise StudyError(f"{path}: cannot be written ({there}: {error.strerror}); name another place") from None
