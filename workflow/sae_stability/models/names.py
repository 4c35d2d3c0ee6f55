"""What a model's name in a config stands for: a hub name, a local folder, or a folder in a package."""

import importlib.util
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.files import sha256 as file_sha256

_WEIGHTS = "model.safetensors"


def resolve_model(name: str, sha256: str | None = None, revision: str | None = None) -> str:
    """The folder that `name` stands for, or the hub name itself.

    Args:
        name: a hub name (`EleutherAI/pythia-160m`), a local folder, or `package:NAME/FOLDER` for a folder
            inside an installed Python package, which is found but not imported.
        sha256: expected SHA-256 of `model.safetensors`; checked here, before anything loads the file.
        revision: hub revision, needed only to check the weights of a hub model.

    Returns:
        A folder's path, or `name` unchanged when it is a hub name.

    Raises:
        StudyError: no such package or folder, or weights that are not the expected ones.
    """
    resolved = _package_folder(name) if name.startswith("package:") else _folder_or_hub_name(name)
    if sha256 is not None:
        _check_weights(name, _weights_file(resolved, revision), sha256)
    return resolved


def _package_folder(name: str) -> str:
    package, _, folder = name.removeprefix("package:").partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise StudyError(f"model '{name}': no Python package '{package}' is installed; install it with pip")
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    path = (root / folder).resolve()
    if not path.is_relative_to(root) or not path.is_dir():
        raise StudyError(f"model '{name}': package '{package}' holds no folder '{folder}'")
    return str(path)


def _folder_or_hub_name(name: str) -> str:
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise StudyError(f"model '{name}': no such folder; give a folder, a hub name or package:NAME/FOLDER")
    return name


def _weights_file(resolved: str, revision: str | None) -> Path:
    if Path(resolved).is_dir():
        return Path(resolved) / _WEIGHTS
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(resolved, _WEIGHTS, revision=revision))
    except (OSError, ValueError) as error:
        raise StudyError(f"model '{resolved}': cannot fetch {_WEIGHTS} to check its sha256 ({error})") from None


def _check_weights(name: str, path: Path, expected: str) -> None:
    if not path.is_file():
        raise StudyError(f"model '{name}': sha256 is given but there is no {_WEIGHTS} to check")
    found = file_sha256(path)
    if found != expected.lower():
        raise StudyError(
            f"model '{name}': {_WEIGHTS} has sha256 {found}, expected {expected}; "
            "fetch the file anew, or correct sha256 if these weights are the ones you mean"
        )


def model_folder(name: str) -> Path | None:
    """The folder of a local model or of one in an installed package; None for a hub name."""
    folder = Path(resolve_model(name))
    return folder if folder.is_dir() else None
