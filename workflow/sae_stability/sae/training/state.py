"""The training state on disk: one safetensors file with everything that determines later steps."""

import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sae_stability.errors import StudyError
from sae_stability.files import atomic
from sae_stability.sae.training.history import History
from sae_stability.sae.training.steps.protocol import Step

FORMAT = 3


def write_state(path: Path, training: Step, history: History, about: dict) -> None:
    """Write everything that training needs to continue, atomically.

    Args:
        about: what the state belongs to, as JSON values; `load_state` returns it.
    """
    tensors = {f"step.{name}": value for name, value in training.state().items()}
    tensors |= {f"history.{name}": value for name, value in history.state().items()}
    # One metadata key only: the writer orders several keys at random, and equal states must give equal bytes.
    about = about | {"format": FORMAT}
    about = json.dumps(about | {"digest": _digest(tensors, about)}, sort_keys=True)
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"about": about})


def load_state(path: Path, training: Step, history: History) -> dict:
    """Load a state file into `training` and `history`. Returns its `about`.

    Raises:
        StudyError: the file is missing, damaged, or written by another version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such training state") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{path}: not a readable training state ({error}); delete it and run again") from None
    if (
        not isinstance(about, dict)
        or about.get("format") != FORMAT
        or about.pop("digest", None) != _digest(tensors, about)
    ):
        raise StudyError(f"{path}: damaged, or written by another version; delete it and run again")
    parts = {"step": {}, "history": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    training.load_state(parts["step"])
    history.load_state(parts["history"])
    return about


def resume(path: Path | None, training: Step, history: History, identity: str) -> int | None:
    """Load a checkpoint of the same job into `training` and `history`.

    A checkpoint of another job (other settings, data or versions) is ignored. A damaged one is ignored with a message;
    it may have been loaded in part.

    Args:
        path: the checkpoint; None, or a path without a file, if there is none.
        identity: the job's identity, which the checkpoint must record.

    Returns:
        Number of steps done on the chunk, or None if no checkpoint was loaded.
    """
    if path is None or not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if json.loads(file.metadata()["about"])["identity"] != identity:
                return None
        return load_state(path, training, history)["steps_done"]
    except (StudyError, SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        print(f"{path}: damaged checkpoint ignored, the chunk starts from its beginning ({error})", file=sys.stderr)
        return None


def _digest(tensors: dict[str, torch.Tensor], about: dict) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        if value.numel():  # some versions of torch give empty tensors strides that `view` refuses
            digest.update(value.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
