"""Download one SAE from the Hugging Face hub: only its own files, from one folder, at one revision."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.files import read_json, remembered, sha256, write_json
from sae_stability.sae.checkpoint_files import FILES, RECORD, checked_folder

# Snakemake puts this file into folders that are outputs of a rule.
_TIMESTAMP = ".snakemake_timestamp"


def fetch(*, repo: str, folder: str, revision: str | None = None, out: Path) -> Path:
    """Download an SAE from the Hugging Face hub. Files keep their paths in the repository.

    The files are downloaded beside `out` and moved there when all have arrived. So a failed download changes nothing.

    Args:
        repo: repository on the hub: owner/name.
        folder: path of the SAE in the repository; . for the root. The path of a file, .pt or .pth, is that file alone.
        revision: branch, tag or commit; the main branch if left out.
        out: folder for the files. An earlier download in it is replaced; a folder with other files is refused.

    Returns:
        The SAE's folder.

    Raises:
        StudyError: no such repository, revision or folder, no access, no network, a path outside the repository, or
            `out` holds files that were not downloaded by `fetch`.
    """
    inside = checked_folder(folder)
    target = Path(out).resolve()
    _check_replaceable(target)
    single = inside.suffix in (".pt", ".pth")
    names = [inside.as_posix()] if single else [(inside / name).as_posix() for name in FILES]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that moving the files there is a rename on one disk.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        download = Path(temporary, "download")
        _download(repo, revision, names, download)
        shutil.rmtree(download / ".cache", ignore_errors=True)
        found = [name for name in names if (download / name).is_file()]
        if not found:
            missing = "is no file there" if single else f"holds no file of an SAE ({', '.join(FILES)})"
            raise StudyError(f"{repo}: folder {folder!r} at {revision or 'main'} {missing}")
        digests = {name: sha256(download / name) for name in found}
        write_json(
            download / RECORD, {"repo": repo, "folder": folder, "revision": revision, "files": found, "sha256": digests}
        )
        _replace(target, download, Path(temporary, "earlier"))
    return Path(out) / inside


def _check_replaceable(target: Path) -> None:
    """Check that `target` is a new or empty folder, or holds nothing but an earlier download."""
    if not target.exists():
        return
    if not target.is_dir():
        raise StudyError(f"{target}: is a file; name a folder")
    record = read_json(target / RECORD) if (target / RECORD).is_file() else {"files": []}
    downloaded = {RECORD, _TIMESTAMP, *record["files"]}
    for path in target.rglob("*"):
        name = path.relative_to(target).as_posix()
        if name not in downloaded and (path.is_symlink() or not path.is_dir()):
            raise StudyError(f"{target}: holds {name}, which was not downloaded by fetch; name another folder")


def _replace(target: Path, new: Path, aside: Path) -> None:
    """Put the folder `new` in the place of `target`; move an old `target` to `aside`, and back if that fails.

    Another job that downloads the same may be first: then its files serve.
    """
    with contextlib.suppress(FileNotFoundError):
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if target.exists() and remembered(target / RECORD) == read_json(new / RECORD):
            return
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise


def _download(repo: str, revision: str | None, names: list[str], out: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repo, revision=revision, allow_patterns=names, local_dir=out)
    except Exception as error:  # besides errors of the hub, those of its HTTP library: a connection may break anywhere
        reason = " ".join(str(error).split())[:300]
        raise StudyError(f"{repo} at {revision or 'main'}: cannot be fetched from the hub ({reason})") from None
