"""What a model's name stands for: a model on the hub, a local folder, or a folder inside an installed package."""

import importlib.util
from pathlib import Path

from sae_stability.errors import StudyError


def resolve_model(name: str) -> str:
    """The folder that `name` stands for, or the hub name itself.

    Args:
        name: a hub name (`EleutherAI/pythia-160m`), a local folder, or `package:NAME/FOLDER` for a folder
            inside an installed Python package, which is found but not imported.

    Returns:
        A folder's path, or `name` unchanged when it is a hub name.

    Raises:
        StudyError: no such package or folder.
    """
    return _package_folder(name) if name.startswith("package:") else _folder_or_hub_name(name)


def model_folder(name: str) -> Path | None:
    """The folder of a local model or of one in an installed package; None for a hub name.

    Raises:
        StudyError: as `resolve_model`.
    """
    folder = Path(resolve_model(name))
    return folder if folder.is_dir() else None


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
