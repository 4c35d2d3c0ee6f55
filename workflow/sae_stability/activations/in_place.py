"""GELUs that overwrite their input, so that a forward pass on a CPU moves less memory."""

import torch
from transformers.activations import GELUActivation

from sae_stability.activations.hooks import Hooks


def gelu_in_place(hooks: Hooks) -> None:
    """Let a model on a CPU compute its exact GELUs in place, if every hookpoint keeps its bits.

    Their input is a layer's widest tensor, and writing a second one takes longer than the arithmetic. Whether anything
    else reads the input cannot be seen from the modules, so two passes over a few tokens, without the change and with
    it, decide for all GELUs that ran. The modules' hooks stay.
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
    """Activations at the hookpoints for a few tokens, and the exact GELUs that ran up to the last hookpoint."""
    ran: set[torch.nn.Module] = set()
    # Before the other hooks, as one of those stops the pass.
    handles = [
        module.register_forward_hook(lambda module, *_: ran.add(module), prepend=True)
        for module in hooks.model.modules()
        if type(module) is GELUActivation and module.act is torch.nn.functional.gelu
    ]
    vocabulary = hooks.model.get_input_embeddings().weight.shape[0]
    try:
        with torch.inference_mode():
            return hooks.run(input_ids=torch.arange(8).view(4, 2) % vocabulary), ran
    finally:
        for handle in handles:
            handle.remove()
