"""Training steps, a module an architecture, and what the architectures' steps are built from."""

from importlib import import_module
from types import ModuleType

from sae_stability.sae.architectures import REGISTRY


def architecture(name: str) -> ModuleType:
    """The module of an architecture, loaded by name so that no other architecture is.

    It has `make_step(weights, settings, normalisation, device, workers)`, which returns a `protocol.Step`. What the
    saved SAE is stands in `sae.formats.own.TRAINED`.
    """
    return import_module(REGISTRY[name].module)
