"""Reading and replacing activations at hookpoints, `PATH` (a module's output) or `PATH:in` (its input)."""

import contextlib
import difflib
import threading
from collections.abc import Callable, Iterator

import torch
import transformers

from sae_stability.errors import StudyError
from sae_stability.models.loading import skeleton


class _Stop(Exception):
    """Ends a forward pass in which every hookpoint has been read."""


class Hooks:
    """Reads several hookpoints in one forward pass and stops the pass after the last of them.

    Use it as a context manager, or call `close`; until then the hooks stay on the model. A module that runs several
    times in a pass is read at its first run. Several threads may call `run` at once.

    Args:
        model: a transformers model.
        hookpoints: `PATH` or `PATH:in`. Paths start at the base model; paths from the full model are accepted too.

    Raises:
        StudyError: a hookpoint is not in the model.
    """

    def __init__(self, model: torch.nn.Module, hookpoints: list[str]):
        self.model = model
        self.hookpoints = list(hookpoints)
        self._pass = threading.local()  # its attribute `found` is what this thread's pass has read so far
        self._handles = [_attach(model, hookpoint, self._reader(hookpoint)) for hookpoint in self.hookpoints]

    def _reader(self, hookpoint: str) -> Callable[[torch.Tensor], None]:
        def read(activations: torch.Tensor) -> None:
            found = self._pass.found
            if hookpoint not in found:
                # A later module may change the tensor in place, as some do with the residual stream.
                found[hookpoint] = activations.detach().clone()
            if len(found) == len(self.hookpoints):
                raise _Stop

        return read

    def run(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Activations of each hookpoint, (batch, position, width), for one forward pass of `inputs`.

        Raises:
            StudyError: a module of `hookpoints` does not run, or gives neither (batch, position, width) nor
                (batch x position, width).
        """
        found: dict[str, torch.Tensor] = {}
        self._pass.found = found
        with contextlib.suppress(_Stop):
            self.model(**inputs)
        self._pass.found = {}
        for hookpoint in self.hookpoints:
            if hookpoint not in found:
                raise StudyError(f"hookpoint '{hookpoint}': the module does not run in a forward pass; choose another")
        tokens = inputs["input_ids"].shape
        for hookpoint, activations in found.items():
            _check_length(hookpoint, activations, tokens)
        return {hookpoint: _row_a_token(hookpoint, activations, tokens) for hookpoint, activations in found.items()}

    def close(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "Hooks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def replace(model: torch.nn.Module, hookpoint: str, function: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Within the context, `function(activations)` takes the place of the activations at the hookpoint.

    `function` takes and returns (batch, position, width), or (batch x position, width) where the module sees that; its
    result is cast to the model's dtype.

    Raises:
        StudyError: the hookpoint is not in the model.
    """
    handle = _attach(model, hookpoint, lambda activations: function(activations).to(activations.dtype))
    try:
        yield
    finally:
        handle.remove()


def list_hookpoints(model: torch.nn.Module | transformers.PretrainedConfig) -> list[str]:
    """Paths of all modules of a model, or of the model that a configuration describes; no weights are read.

    Each path is a hookpoint, and so is the path with `:in`. Paths are relative to the base model.
    """
    if isinstance(model, transformers.PretrainedConfig):
        model = skeleton(model)
    return [name for name, _ in _base(model).named_modules() if name]


def hookpoint_width(model: torch.nn.Module | transformers.PretrainedConfig, hookpoint: str, *, length: int = 2) -> int:
    """Width of the activations at a hookpoint, found by a forward pass over two tokens; a configuration is enough.

    Args:
        model: a model, or the configuration of one.
        hookpoint: where to read it.
        length: how many tokens to pass; some models compute long blocks in another way.

    Raises:
        StudyError: the hookpoint is not in the model, or gives no (batch, position, width).
        Exception: of any kind, where the model cannot run on such tokens. Tokens without values, as on the skeleton
            that a configuration gives, fit fewer models than real ones do.
    """
    if isinstance(model, transformers.PretrainedConfig):
        model = skeleton(model)
    weight = next(model.parameters())
    with Hooks(model, [hookpoint]) as hooks, torch.no_grad(), getattr(weight, "fake_mode", contextlib.nullcontext()):
        tokens = torch.zeros(1, length, dtype=torch.long, device=weight.device)
        return hooks.run(input_ids=tokens)[hookpoint].shape[-1]


def _attach(
    model: torch.nn.Module, hookpoint: str, function: Callable[[torch.Tensor], torch.Tensor | None]
) -> torch.utils.hooks.RemovableHandle:
    """Hook `function` to the hookpoint: it is called on the activations, and a result other than None replaces them."""
    path, colon, side = hookpoint.partition(":")
    if colon and side != "in":
        raise StudyError(f"hookpoint '{hookpoint}': ':{side}' is unknown; allowed: PATH (output) or PATH:in (input)")
    module = _module(model, path)

    def after(_module: torch.nn.Module, _inputs: tuple, output: object) -> object:
        new = function(_first(hookpoint, output))
        return None if new is None else _with_first(output, new)

    def before(_module: torch.nn.Module, args: tuple, kwargs: dict) -> object:
        name = None if args else next((key for key, value in kwargs.items() if isinstance(value, torch.Tensor)), None)
        new = function(_first(hookpoint, kwargs.get(name) if name else args))
        if new is None:
            return None
        return (args, {**kwargs, name: new}) if name else ((new, *args[1:]), kwargs)

    if side == "in":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _first(hookpoint: str, value: object) -> torch.Tensor:
    """The tensor, or the first of a tuple, list or transformers output."""
    first = value if isinstance(value, torch.Tensor) else next(iter(_values(value)), None)
    if not isinstance(first, torch.Tensor):
        raise StudyError(f"hookpoint '{hookpoint}': the module's value is {type(value).__name__}, not a tensor")
    return first


def _values(value: object) -> list:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple | list) else []


def _with_first(output: object, new: torch.Tensor) -> object:
    """`output` with its first tensor replaced, of the same type."""
    if isinstance(output, torch.Tensor):
        return new
    if isinstance(output, dict):
        output[next(iter(output))] = new
        return output
    return type(output)([new, *output[1:]])


def _base(model: torch.nn.Module) -> torch.nn.Module:
    return getattr(model, "base_model", model)


def _module(model: torch.nn.Module, path: str) -> torch.nn.Module:
    """The module at a path relative to the base model, or else to the full model."""
    base = _base(model)
    prefix = getattr(model, "base_model_prefix", "") + "."
    for root, candidate in ((base, path), (model, path), (base, path.removeprefix(prefix))):
        if candidate:
            with contextlib.suppress(AttributeError):
                return root.get_submodule(candidate)
    names = list_hookpoints(model)
    near = difflib.get_close_matches(path.removeprefix(prefix), names, n=1, cutoff=0.4)
    hint = f"nearest: '{near[0]}'; " if near else ""
    raise StudyError(
        f"hookpoint '{path}' is not in {type(model).__name__}; {hint}"
        f"it has {', '.join(names[:5])}, ... (sae_stability.activations.hooks.list_hookpoints lists all)"
    )


def _check_length(hookpoint: str, activations: torch.Tensor, tokens: torch.Size) -> None:
    """Refuse positions that the model adds to a block, as models with windows of attention do."""
    batch, positions = tokens
    if activations.ndim == 3 and len(activations) == batch and activations.shape[1] > positions:
        raise StudyError(
            f"hookpoint '{hookpoint}': the model pads blocks of {positions} tokens to {activations.shape[1]}; choose a "
            "context_length that is a multiple of its attention window, with packing: true, or a hookpoint outside"
        )


def _row_a_token(hookpoint: str, activations: torch.Tensor, tokens: torch.Size) -> torch.Tensor:
    """The activations as (batch, position, width). Some modules see the tokens of a batch one after the other."""
    if activations.ndim == 2 and len(activations) == tokens.numel():
        return activations.reshape(*tokens, -1)
    if activations.ndim != 3 or activations.shape[:2] != tokens:
        raise StudyError(
            f"hookpoint '{hookpoint}' gives the shape {tuple(activations.shape)} for {tuple(tokens)} tokens; "
            "allowed: (batch, position, width), or (batch x position, width)"
        )
    return activations
