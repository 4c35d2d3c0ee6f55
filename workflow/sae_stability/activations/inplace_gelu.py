"""GELUs that overwrite their input, so that a forward pass on a CPU moves less memory."""

import weakref

import torch
from transformers.activations import GELUActivation

from sae_stability.activations.hooks import Hooks


def gelu_in_place(hooks: Hooks) -> None:
    """Let a model on a CPU compute its exact GELUs in place, if every hookpoint keeps its bits for a few tokens.

    Their input is a layer's widest tensor, and writing a second one takes longer than the arithmetic. Only GELUs of
    tensors that are gone after a pass are changed. Whether anything else reads the input before then cannot be seen
    from the modules, so two passes over a few tokens, without the change and with it, decide for all of them.
    """
    if hooks.model.device.type != "cpu":
        return
    expected, gelus = _trial(hooks)
    for gelu in gelus:
        gelu.forward = torch.ops.aten.gelu_
    found, _ = _trial(hooks)
    if not all(torch.equal(found[hookpoint], expected[hookpoint]) for hookpoint in expected):
        for gelu in gelus:
            del gelu.forward


def _trial(hooks: Hooks) -> tuple[dict[str, torch.Tensor], set[torch.nn.Module]]:
    """Activations at the hookpoints for a few tokens, and the exact GELUs up to there whose inputs were passing."""
    inputs: list[tuple[torch.nn.Module, bool, weakref.ref]] = []
    held = {tensor.untyped_storage().data_ptr() for tensor in (*hooks.model.parameters(), *hooks.model.buffers())}

    def note(module: torch.nn.Module, arguments: tuple[torch.Tensor], _output: torch.Tensor) -> None:
        given, storage = arguments[0], arguments[0].untyped_storage()
        whole = given.is_contiguous() and storage.nbytes() == given.nbytes and storage.data_ptr() not in held
        inputs.append((module, whole, weakref.ref(given)))

    # Before the other hooks, as one of those stops the pass.
    handles = [
        module.register_forward_hook(note, prepend=True)
        for module in hooks.model.modules()
        if type(module) is GELUActivation and module.act is torch.nn.functional.gelu
    ]
    vocabulary = hooks.model.get_input_embeddings().weight.shape[0]
    try:
        with torch.inference_mode():
            found = hooks.run(input_ids=torch.arange(8).view(4, 2) % vocabulary)
    finally:
        for handle in handles:
            handle.remove()
    spared = {module for module, whole, given in inputs if not whole or given() is not None}
    return found, {module for module, _, _ in inputs} - spared
