"""Which files make up an SAE saved by another library, recognised by their names, without reading them."""

from pathlib import Path, PurePosixPath

from sae_stability.errors import StudyError

# Every file that a format reads. A folder may also hold gigabytes of other files (optimiser states, dashboards).
FILES = (
    "cfg.json",
    "config.json",
    "hyperparams.json",
    "sae.safetensors",
    "sae_weights.safetensors",
    "params.safetensors",
    "params.npz",
    "ae.pt",
    "sae.pt",
    "checkpoints/final.safetensors",
)


def checkpoint_files(path: Path) -> list[Path]:
    """The files that reading a local checkpoint depends on.

    Args:
        path: the checkpoint: a folder, or one of its files.
    """
    folder = path if path.is_dir() else path.parent
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if path.is_dir() or path in found:
        return found
    if not path.is_file():
        return []
    # A file of another name, such as `checkpoints/ae_STEP.pt`, whose settings lie one folder up.
    settings = [folder / "config.json", *([folder.parent / "config.json"] if folder.name == "checkpoints" else [])]
    return [path, *[file for file in settings if file.is_file()][:1]]


def checked_folder(folder: str) -> PurePosixPath:
    """`folder` as a path inside a repository.

    Raises:
        StudyError: the path is absolute, contains `..`, or is a pattern.
    """
    inside = PurePosixPath(folder)
    if inside.is_absolute() or ".." in inside.parts or set(folder) & set("*?[]\\"):
        raise StudyError(f"folder {folder!r}: must be a path inside the repository, without '..' or patterns")
    return inside
