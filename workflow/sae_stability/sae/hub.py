"""Download one SAE from the Hugging Face hub: only its own files, from one folder, at one revision."""

import shutil
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.sae.checkpoint_files import FILES, checked_folder


def fetch(*, repo: str, folder: str, revision: str | None = None, out: Path) -> Path:
    """Download an SAE from the Hugging Face hub. Files keep their paths in the repository.

    Args:
        repo: repository on the hub: owner/name.
        folder: path of the SAE in the repository; . for the root. The path of a file, .pt or .pth, is that file alone.
        revision: branch, tag or commit; the main branch if left out.
        out: folder for the files; its contents are replaced.

    Returns:
        The SAE's folder.

    Raises:
        StudyError: no such repository, revision or folder, no access, no network, or a path outside the repository.
    """
    inside = checked_folder(folder)
    out = Path(out)
    shutil.rmtree(out, ignore_errors=True)
    single = inside.suffix in (".pt", ".pth")
    names = [inside.as_posix()] if single else [(inside / name).as_posix() for name in FILES]
    _download(repo, revision, names, out)
    shutil.rmtree(out / ".cache", ignore_errors=True)
    if not any((out / name).is_file() for name in names):
        missing = "is no file there" if single else f"holds no file of an SAE ({', '.join(FILES)})"
        raise StudyError(f"{repo}: folder {folder!r} at {revision or 'main'} {missing}")
    return out / inside


def _download(repo: str, revision: str | None, names: list[str], out: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot_download(repo, revision=revision, allow_patterns=names, local_dir=out)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StudyError(f"{repo} at {revision or 'main'}: cannot be fetched from the hub ({reason})") from None
