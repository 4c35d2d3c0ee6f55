"""Which files make up an SAE saved by another library, recognised by their names, without reading them."""

from pathlib import Path, PurePosixPath

from sae_stability.errors import StudyError
from sae_stability.files import read_json, sha256

RECORD = ".fetched"
"""File in a folder from the hub that lists what was downloaded, with the SHA-256 of each file, as JSON."""

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


def check_fetched(path: Path) -> None:
    """Check that a checkpoint which `fetch` has downloaded is as it came; any other is not checked.

    Args:
        path: the checkpoint: a folder, or one of its files.

    Raises:
        StudyError: a file or the record of the download is damaged or changed.
    """
    path = path.absolute()
    folder = next((place for place in (path, *path.parents) if (place / RECORD).is_file()), None)
    if folder is None:
        return
    try:
        digests = read_json(folder / RECORD)["sha256"]
    except (StudyError, KeyError):
        raise StudyError(f"{folder / RECORD}: damaged; delete its folder and fetch the SAE again") from None
    for file in checkpoint_files(path):
        expected = digests.get(file.relative_to(folder).as_posix())
        if expected is not None and sha256(file) != expected:
            raise StudyError(f"{file}: damaged or changed since it was fetched; delete {folder} and fetch it again")


def checked_folder(folder: str) -> PurePosixPath:
    """`folder` as a path inside a repository.

    Raises:
        StudyError: the path is absolute, contains `..`, or is a pattern.
    """
    inside = PurePosixPath(folder)
    if inside.is_absolute() or ".." in inside.parts or set(folder) & set("*?[]\\"):
        raise StudyError(f"folder {folder!r}: must be a path inside the repository, without '..' or patterns")
    return inside
