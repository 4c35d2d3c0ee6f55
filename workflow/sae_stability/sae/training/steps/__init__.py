"""Training steps: one module per architecture, and their common parts."""

from importlib import import_module
from types import ModuleType

from sae_stability.sae.architectures import REGISTRY


def architecture(name: str) -> ModuleType:
    """The module of an architecture, without loading those of others.

    It has `make_step(weights, settings, normalisation, device, workers)`, which returns a `protocol.Step`.
    `sae.formats.own.TRAINED` describes the SAE that is saved.
    """
    return import_module(REGISTRY[name].module)
