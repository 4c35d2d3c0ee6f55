"""Weights that a model's files do not have, and weights in the files that the model does not use."""

import weakref

import torch

from sae_stability.errors import StudyError
from sae_stability.models.source import ModelSource

_SHOWN = 3

# Model -> what `missing_weights` says of it, for models with weights that their files do not have.
_MISSING: weakref.WeakKeyDictionary[torch.nn.Module, str] = weakref.WeakKeyDictionary()


def mark_missing(model: torch.nn.Module, part: torch.nn.Module, missing: list[str], unused: list[str]) -> None:
    """Fill weights that the files do not have with NaN: what is computed from them is not finite, all else is right.

    A head that was left out on purpose may miss; so which weights a hookpoint needs shows in the forward pass.

    Args:
        model: the loaded model.
        part: what is run of it, the model itself or a module of it: the one that `missing_weights` will be asked about.
        missing: names of its weights that the files do not have.
        unused: names in the files that the model does not have.

    Raises:
        StudyError: a missing tensor holds whole numbers, which have no NaN.
    """
    if not missing:
        return
    said = f"the model's files lack {_some(missing)}"
    said += f" and have, unused, {_some(unused)}" if unused else ""
    state = model.state_dict()
    for name in missing:
        if name in state and not state[name].is_floating_point():
            raise StudyError(f"{said}; fetch the model again")
        if name in state:
            state[name].fill_(torch.nan)
    _MISSING[part] = said


def missing_weights(model: torch.nn.Module) -> str | None:
    """What the model's files lack, in words that name the weights; None if they lack nothing."""
    return _MISSING.get(model)


def check_head(missing: list[str], unused: list[str], source: ModelSource) -> None:
    """Refuse a model that runs as a whole, head included, and lacks weights.

    Raises:
        StudyError: weights are missing.
    """
    if missing:
        rest = f" (unused: {_some(unused)})" if unused else ""
        raise StudyError(
            f"model '{source.name}': its files lack {_some(missing)}{rest}; fetch it again, or, if it has no "
            "language-model head, name the class without one under architectures in its config.json"
        )


def check_switched_off(model: torch.nn.Module, unused: list[str], source: ModelSource) -> None:
    """Refuse weights in the files that the configuration switches off, such as the biases of a module without bias.

    Raises:
        StudyError: a module has no place for a weight of its own that the files hold.
    """
    modules = dict(model.named_modules())
    for name in unused:
        path, _, weight = name.rpartition(".")
        for candidate in (path, path.removeprefix(f"{model.base_model_prefix}.")):
            module = modules.get(candidate)
            if module is not None and weight in module._parameters and module._parameters[weight] is None:
                raise StudyError(
                    f"model '{source.name}': its files hold {name}, which its config.json switches off; "
                    "use the config.json that belongs to the weights"
                )


def _some(names: list[str]) -> str:
    """The first names, and how many there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} ... ({len(names)} in all)"
