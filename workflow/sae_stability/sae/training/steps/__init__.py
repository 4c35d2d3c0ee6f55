"""Training steps, a module an architecture, and what the architectures' steps are built from."""

from importlib import import_module
from types import ModuleType

from sae_stability.sae.architectures import REGISTRY


def architecture(name: str) -> ModuleType:
    """The module of an architecture: `encode(sae, x)`, `make_step(weights, settings, normalisation, device,
    workers)`, `EXTRAS` and `AS_WEIGHTS`.

    `EXTRAS` names the tensors of the saved SAE besides encoder, decoder and both biases, with their shapes as in
    `checkpoint.TENSORS`. `AS_WEIGHTS` says what the SAE is to other formats: its activation among
    `weights.ACTIVATIONS`, and field of `Weights` -> saved tensor where they have not one name.
    """
    return import_module(REGISTRY[name].module)
