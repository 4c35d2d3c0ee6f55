"""The architectures by name. A new one is a module here and a line below."""

from importlib import import_module
from types import ModuleType

REGISTRY = {"topk": "sae_stability.sae.architectures.topk"}


def architecture(name: str) -> ModuleType:
    """The module of an architecture: `encode(sae, x)`, `make_step(weights, settings, normalisation, device, workers)`
    and `EXTRAS`, the names of what it saves besides encoder, decoder and both biases.
    """
    return import_module(REGISTRY[name])
