"""GELUs that overwrite their input, so that a forward pass on a CPU writes less memory."""

import weakref

import torch
from transformers.activations import GELUActivation

from sae_stability.activations.hooks import Hooks


def gelu_in_place(hooks: Hooks, **inputs: torch.Tensor) -> None:
    """Let a model on a CPU compute its exact GELUs in place, if that changes no bit at any hookpoint.

    A GELU's input is a layer's widest tensor, and writing a second one takes longer than the arithmetic. Only those
    GELUs are changed whose input is freed by the end of a pass. The modules do not show whether something else reads
    the input before that. So two passes over a few tokens are compared, without the change and with it; if they
    differ, no GELU is changed.

    Args:
        hooks: the hooks on the model.
        inputs: a few tokens as the model takes them, `input_ids` (blocks, length) and maybe `attention_mask`. They are
            real ones, because some models compute short or made-up blocks in another way.
    """
    if hooks.model.device.type != "cpu":
        return
    expected, gelus = _trial(hooks, inputs)
    for gelu in gelus:
        gelu.forward = torch.ops.aten.gelu_
    found, _ = _trial(hooks, inputs)
    if not all(torch.equal(found[hookpoint], expected[hookpoint]) for hookpoint in expected):
        for gelu in gelus:
            del gelu.forward


def _trial(hooks: Hooks, inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], set[torch.nn.Module]]:
    """Activations at the hookpoints for `inputs`, and the exact GELUs that ran whose input was freed afterwards."""
    gelu_inputs: list[tuple[torch.nn.Module, bool, weakref.ref]] = []
    held = {tensor.untyped_storage().data_ptr() for tensor in (*hooks.model.parameters(), *hooks.model.buffers())}

    def note(module: torch.nn.Module, arguments: tuple[torch.Tensor], _output: torch.Tensor) -> None:
        tensor, storage = arguments[0], arguments[0].untyped_storage()
        whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes and storage.data_ptr() not in held
        gelu_inputs.append((module, whole, weakref.ref(tensor)))

    # These go before the other hooks, one of which stops the pass.
    handles = [
        module.register_forward_hook(note, prepend=True)
        for module in hooks.model.modules()
        if type(module) is GELUActivation and module.act is torch.nn.functional.gelu
    ]
    try:
        with torch.inference_mode():
            found = hooks.run(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    unchanged = {module for module, whole, tensor in gelu_inputs if not whole or tensor() is not None}
    return found, {module for module, _, _ in gelu_inputs} - unchanged
