"""GELUs in place: the same bits, and no change where something else reads the input."""

import pytest
import torch
from transformers.activations import GELUActivation

from sae_stability.activations.hooks import Hooks
from sae_stability.activations.inplace_gelu import gelu_in_place
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from tests.tiny import HOOKPOINTS

TOKENS = torch.arange(5, 69).reshape(4, 16)
INTERMEDIATE = "encoder.layer.0.intermediate"


def made(folder, hookpoints: list[str], dtype: str = "float32", change=lambda model: None) -> tuple:
    """Activations before and after, and the names of the GELUs that overwrite their input."""
    model = load_model(ModelSource(str(folder), dtype=dtype), "cpu")
    change(model)
    with Hooks(model, hookpoints) as hooks, torch.inference_mode():
        before = hooks.run(input_ids=TOKENS)
        gelu_in_place(hooks, input_ids=TOKENS[:2])
        after = hooks.run(input_ids=TOKENS)
    return before, after, [name for name, gelu in gelus(model) if overwrites(gelu)]


def gelus(model) -> list[tuple[str, torch.nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if type(module) is GELUActivation]


def overwrites(gelu: torch.nn.Module) -> bool:
    values = torch.linspace(-3, 3, 10)
    expected = torch.nn.functional.gelu(values)
    result = gelu(values)
    assert torch.equal(result, expected)
    return result.data_ptr() == values.data_ptr()


def assert_same(found: dict, expected: dict) -> None:
    for hookpoint, activations in expected.items():
        assert torch.equal(found[hookpoint], activations), hookpoint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(HOOKPOINTS))
def test_every_hookpoint_keeps_its_bits(models, name, dtype):
    before, after, changed = made(models[name], HOOKPOINTS[name], dtype)
    assert_same(after, before)
    assert bool(changed) == (name != "gpt2")  # whose GELU is another, by tanh


def test_gelus_after_the_last_hookpoint_are_left_alone(models):
    assert made(models["bert"], ["encoder.layer.0"])[2] == [f"{INTERMEDIATE}.intermediate_act_fn"]


@pytest.mark.parametrize("last", [f"{INTERMEDIATE}.intermediate_act_fn", "encoder.layer.1"])
def test_the_input_is_read_as_it_was_before_it_is_overwritten(models, last):
    hookpoints = [f"{INTERMEDIATE}.dense", f"{INTERMEDIATE}.intermediate_act_fn:in", last]
    before, after, changed = made(models["bert"], hookpoints)
    assert_same(after, before)
    assert f"{INTERMEDIATE}.intermediate_act_fn" in changed


def read_again(dense, act, hidden):
    hidden = dense(hidden)
    return act(hidden) + hidden


def a_parameter(dense, act, hidden):
    return dense(hidden) + act(dense.bias)


def a_slice(dense, act, hidden):
    both = dense(hidden).repeat(1, 1, 2)
    return act(both[..., : dense.out_features])


def expanded(dense, act, hidden):
    hidden = dense(hidden)
    return hidden + act(hidden.mean(-1, keepdim=True).expand_as(hidden))


CACHE: dict[torch.nn.Module, torch.Tensor] = {}


def cached(dense, act, hidden):
    hidden = dense(hidden)
    return hidden + act(CACHE.setdefault(dense, torch.linspace(-1, 1, dense.out_features)))


@pytest.mark.parametrize("use", [read_again, a_parameter, a_slice, expanded, cached])
def test_an_input_that_others_use_is_not_overwritten(models, use):
    def change(model):
        intermediate = model.encoder.layer[0].intermediate
        dense, act = intermediate.dense, intermediate.intermediate_act_fn
        intermediate.forward = lambda hidden: use(dense, act, hidden)

    before, after, changed = made(models["bert"], ["encoder.layer.0"], change=change)
    assert changed == []
    assert_same(after, before)


def test_hooks_on_a_gelu_stay(models):
    model = load_model(ModelSource(str(models["bert"])), "cpu")
    seen = []
    model.encoder.layer[0].intermediate.intermediate_act_fn.register_forward_hook(lambda *_: seen.append(1))
    with Hooks(model, ["encoder.layer.1"]) as hooks, torch.inference_mode():
        gelu_in_place(hooks, input_ids=TOKENS[:2])
        seen.clear()
        hooks.run(input_ids=TOKENS)
    assert seen == [1]
