import pytest
import torch
import transformers

from sae_stability.activations.hooks import Hooks, hookpoint_width, list_hookpoints, replace
from sae_stability.errors import StudyError
from sae_stability.models.loading import load_model, model_config
from sae_stability.models.source import ModelSource
from tests.tiny import WIDTH

TOKENS = torch.arange(5, 29).reshape(2, 12)
BLOCKS = {"bert": "encoder.layer", "gpt_neox": "layers", "gpt2": "h"}


@pytest.fixture(params=["bert", "gpt_neox", "gpt2"])
def name(request):
    return request.param


@pytest.fixture
def model(models, name):
    return load_model(ModelSource(str(models[name])), "cpu")


def read(model, hookpoints, tokens=TOKENS):
    with Hooks(model, hookpoints) as hooks, torch.inference_mode():
        return hooks.run(input_ids=tokens)


def test_residual_stream_equals_hidden_states(model, name):
    hookpoints = [f"{BLOCKS[name]}.0", f"{BLOCKS[name]}.1:in", f"{BLOCKS[name]}.0:in"]
    found = read(model, hookpoints)
    with torch.no_grad():
        states = model(input_ids=TOKENS, output_hidden_states=True).hidden_states
    torch.testing.assert_close(found[f"{BLOCKS[name]}.0"], states[1])
    torch.testing.assert_close(found[f"{BLOCKS[name]}.1:in"], states[1])
    torch.testing.assert_close(found[f"{BLOCKS[name]}.0:in"], states[0])


def test_the_pass_stops_after_the_last_hookpoint_whatever_their_order(model, name):
    ran = []
    for index, block in enumerate(model.get_submodule(BLOCKS[name])):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    read(model, [f"{BLOCKS[name]}.0", f"{BLOCKS[name]}.0:in"])
    assert ran == [0]
    read(model, [f"{BLOCKS[name]}.1", f"{BLOCKS[name]}.0"])
    assert ran == [0, 0, 1]


def test_hooks_leave_the_model_as_it_was(model, name):
    with torch.no_grad():
        before = model(input_ids=TOKENS).last_hidden_state
        read(model, [f"{BLOCKS[name]}.0"])
        torch.testing.assert_close(model(input_ids=TOKENS).last_hidden_state, before, rtol=0, atol=0)


def test_a_later_change_in_place_does_not_reach_what_was_read(model, name):
    later = model.get_submodule(f"{BLOCKS[name]}.1")

    def wipe(_module, args):
        args[0].zero_()

    later.register_forward_pre_hook(wipe)
    found = read(model, [f"{BLOCKS[name]}.0", f"{BLOCKS[name]}.1"])
    assert found[f"{BLOCKS[name]}.0"].abs().max() > 0


@pytest.mark.parametrize("side", ["", ":in"])
def test_replacing_activations_changes_what_comes_after(model, name, side):
    hookpoint = f"{BLOCKS[name]}.1{side}"
    with torch.no_grad():
        before = model(input_ids=TOKENS).last_hidden_state
        with replace(model, hookpoint, lambda activations: activations):
            same = model(input_ids=TOKENS).last_hidden_state
        with replace(model, hookpoint, lambda activations: torch.zeros_like(activations)):
            found = model(input_ids=TOKENS).last_hidden_state
        after = model(input_ids=TOKENS).last_hidden_state
    torch.testing.assert_close(same, before, rtol=0, atol=0)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    # Zeros are the same at every position, up to the position's own embedding, which the block no longer sees.
    torch.testing.assert_close(found, found[:, :1].expand_as(found), rtol=1e-4, atol=1e-5)
    assert (before - before[:, :1]).abs().max() > 0.1


def test_replacing_by_the_mean_works_on_the_full_model(models):
    model = load_model(ModelSource(str(models["gpt_neox"])), "cpu", lm_head=True)
    with torch.no_grad():
        clean = model(input_ids=TOKENS).logits
        with replace(model, "layers.0.mlp", lambda activations: activations + 1):
            assert not torch.allclose(model(input_ids=TOKENS).logits, clean)


def test_paths_from_the_full_model_name_the_same_hookpoint(models):
    base = load_model(ModelSource(str(models["gpt_neox"])), "cpu")
    full = load_model(ModelSource(str(models["gpt_neox"])), "cpu", lm_head=True)
    found = [
        next(iter(read(model, [path]).values()))
        for model in (base, full)
        for path in ("layers.0.mlp", "gpt_neox.layers.0.mlp")
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)


def test_widths_and_names_come_from_the_configuration_alone(models, name):
    config = model_config(ModelSource(str(models[name])))
    assert f"{BLOCKS[name]}.0" in list_hookpoints(config)
    inner = {"bert": "output.dense:in", "gpt_neox": "mlp.dense_4h_to_h:in", "gpt2": "mlp.c_proj:in"}[name]
    assert hookpoint_width(config, f"{BLOCKS[name]}.0") == WIDTH
    assert hookpoint_width(config, f"{BLOCKS[name]}.0.{inner}") == {"gpt2": 4 * WIDTH}.get(name, 2 * WIDTH)


@pytest.mark.parametrize(
    ("hookpoint", "message"),
    [
        ("encoder.layers.0", "not in BertModel; nearest: 'encoder.layer.0'"),
        ("zzz", r"not in BertModel; it has embeddings, .*list_hookpoints lists all"),
        ("encoder.layer.0:out", "':out' is unknown; allowed: PATH"),
        ("pooler", "not in BertModel"),
    ],
)
def test_a_wrong_hookpoint_is_named_with_the_nearest_one(models, hookpoint, message):
    with pytest.raises(StudyError, match=message):
        hookpoint_width(model_config(ModelSource(str(models["bert"]))), hookpoint)


def test_a_module_that_does_not_run_is_named(model, name):
    model.register_module("spare", torch.nn.Linear(2, 2))
    with pytest.raises(StudyError, match="'spare': the module does not run"):
        read(model, ["spare"])


def test_a_value_without_positions_is_refused(models):
    model = load_model(ModelSource(str(models["bert"])), "cpu")
    model.embeddings.register_forward_hook(lambda _module, _args, output: output)
    with pytest.raises(StudyError, match=r"gives the shape .* allowed: \(batch, position, width\)"):
        read(model, ["embeddings.position_embeddings"])


def flat_opt():
    """OPT's MLP sees the tokens of a batch one after the other, (batch x position, width)."""
    import transformers

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    }
    config = transformers.OPTConfig(vocab_size=64, max_position_embeddings=64, **sizes)
    return transformers.OPTModel(config).eval()


@pytest.mark.parametrize("hookpoint", ["decoder.layers.0.fc2", "decoder.layers.1.fc1:in", "decoder.layers.0.fc1"])
def test_a_module_that_sees_all_tokens_in_one_list_is_read_row_by_row(hookpoint):
    model = flat_opt()
    together = read(model, [hookpoint])[hookpoint]
    assert together.shape[:2] == TOKENS.shape
    for row, tokens in enumerate(TOKENS):
        torch.testing.assert_close(together[row], read(model, [hookpoint], tokens[None])[hookpoint][0])
    assert hookpoint_width(model.config, hookpoint) == together.shape[-1]


def test_a_module_that_sees_other_numbers_of_rows_is_refused():
    class Evens(torch.nn.Module):
        def forward(self, x):
            return x[::2]

    model = flat_opt()
    model.decoder.layers[0].add_module("evens", Evens())
    layer = model.decoder.layers[0]
    layer.fc2.register_forward_hook(lambda module, inputs, output: layer.evens(output).repeat_interleave(2, dim=0))
    with pytest.raises(StudyError, match=r"allowed: \(batch, position, width\), or \(batch x position, width\)"):
        read(model, ["decoder.layers.0.evens"])


def test_a_model_that_pads_blocks_to_its_window_says_so():
    config = transformers.LongformerConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=WIDTH,
        max_position_embeddings=40,
        attention_window=[8],
        pad_token_id=1,
    )
    model = transformers.AutoModel.from_config(config).eval()
    with Hooks(model, ["encoder.layer.0"]) as hooks, torch.inference_mode():
        assert hooks.run(input_ids=torch.full((2, 16), 5))["encoder.layer.0"].shape == (2, 16, WIDTH)
        with pytest.raises(StudyError, match=r"pads blocks of 13 tokens to 16; choose .* multiple of its attention"):
            hooks.run(input_ids=torch.full((2, 13), 5))
