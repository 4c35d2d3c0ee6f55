"""A part of a model that is run by itself: the encoder of an encoder-decoder, the text tower of a model of pictures."""

import difflib
import inspect

import torch

from sae_stability.errors import StudyError
from sae_stability.models.source import ModelSource


def part_of(model: torch.nn.Module, source: ModelSource) -> torch.nn.Module:
    """The module that `source.part` names, or the whole model where it names none.

    Raises:
        StudyError: no such module, or one that takes no tokens.
    """
    if source.part is None:
        return model
    modules = dict(model.named_modules())
    if source.part not in modules or not source.part:
        near = difflib.get_close_matches(source.part, modules, n=1, cutoff=0.4)
        hint = (
            f"did you mean {near[0]}?" if near else f"its parts are {', '.join(n for n, _ in model.named_children())}"
        )
        raise StudyError(f"model '{source.name}': no part '{source.part}'; {hint}")
    part = modules[source.part]
    if "input_ids" not in inspect.signature(part.forward).parameters:
        raise StudyError(
            f"model '{source.name}': part '{source.part}' takes no tokens; name one that does, such as encoder, "
            "text_model or language_model"
        )
    if hasattr(part, "config"):
        part.config.use_cache = False
    return part
