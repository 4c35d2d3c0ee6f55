"""Which files make an SAE that another library saved: known from names alone, without reading any."""

from pathlib import Path, PurePosixPath

from sae_stability.errors import StudyError

# Every file that some format reads; a folder may hold gigabytes of others (optimiser states, dashboards).
FILES = (
    "cfg.json",
    "config.json",
    "hyperparams.json",
    "sae.safetensors",
    "sae_weights.safetensors",
    "params.safetensors",
    "params.npz",
    "ae.pt",
    "checkpoints/final.safetensors",
)


def checkpoint_files(path: Path) -> list[Path]:
    """The files of a local checkpoint, a folder or one of its files, that decide what is read."""
    folder = path if path.is_dir() else path.parent
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if path.is_dir() or path in found:
        return found
    if not path.is_file():
        return []
    # A file of another name; an `ae_STEP.pt` lies in a folder `checkpoints`, its settings above that.
    settings = [folder / "config.json", *([folder.parent / "config.json"] if folder.name == "checkpoints" else [])]
    return [path, *[file for file in settings if file.is_file()][:1]]


def checked_folder(folder: str) -> PurePosixPath:
    """A path inside a repository.

    Raises:
        StudyError: it is absolute, goes up, or is a pattern.
    """
    inside = PurePosixPath(folder)
    if inside.is_absolute() or ".." in inside.parts or set(folder) & set("*?[]\\"):
        raise StudyError(f"folder {folder!r}: must be a path inside the repository, without '..' or patterns")
    return inside
