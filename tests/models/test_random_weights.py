"""Models whose weights were never trained."""

import shutil

import pytest
import torch

from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.unloaded import missing_weights

NAMES = ["bert", "gpt_neox", "gpt2"]


def weights(source: ModelSource, **settings) -> dict[str, torch.Tensor]:
    return load_model(source, "cpu", **settings).state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_are_those_of_their_seed_and_not_the_trained_ones(models, name):
    folder = str(models[name])
    trained, first, again, other = (weights(ModelSource(folder, random_seed=seed)) for seed in (None, 0, 0, 1))
    assert trained.keys() == first.keys()
    matrices = [name for name, value in first.items() if value.dim() == 2]
    assert len(matrices) > 8
    for name in first:
        assert torch.equal(first[name], again[name])
    for name in matrices:
        assert not torch.equal(first[name], trained[name])
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_are_drawn_by_the_models_own_rules(models, name):
    source = ModelSource(str(models[name]), random_seed=0)
    network = load_model(source, "cpu")
    for key, value in network.state_dict().items():
        if value.dim() == 2 and "embed" not in key and "wpe" not in key and "wte" not in key:
            # The tiny models state an initializer_range of 0.2; GPT-2 divides it by the root of twice its 2 layers
            # where a block writes into the residual stream.
            expected = 0.1 if key.endswith("c_proj.weight") else 0.2
            assert float(value.std()) == pytest.approx(expected, rel=0.15), key
        elif key.lower().endswith(("norm.weight", "ln_1.weight")):
            assert (value == 1).all()
    assert not network.training


@pytest.mark.parametrize("name", NAMES)
def test_a_head_changes_no_random_weight_below_it(models, name):
    source = ModelSource(str(models[name]), random_seed=3)
    base, whole = load_model(source, "cpu"), load_model(source, "cpu", lm_head=True)
    tokens = torch.arange(5, 25).reshape(2, 10)
    with torch.inference_mode():
        found = whole(input_ids=tokens, output_hidden_states=True).hidden_states[-1]
        expected = base(input_ids=tokens).last_hidden_state
    assert torch.equal(found, expected)
    if whole.config.tie_word_embeddings:
        assert whole.get_output_embeddings().weight.data_ptr() == whole.get_input_embeddings().weight.data_ptr()


def test_random_weights_need_a_configuration_and_no_weights_in_the_files(models, tmp_path):
    folder = tmp_path / "configuration"
    shutil.copytree(models["gpt_neox"], folder, ignore=shutil.ignore_patterns("*.safetensors"))
    network = load_model(ModelSource(str(folder), random_seed=0), "cpu")
    assert missing_weights(network) is None
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_drawing_random_weights_leaves_other_random_numbers_alone(models):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(ModelSource(str(models["gpt2"]), random_seed=0), "cpu")
    assert torch.equal(torch.rand(3), expected)


def test_the_precision_rounds_the_same_random_weights(models):
    folder = str(models["gpt2"])
    exact = weights(ModelSource(folder, random_seed=0))
    rounded = weights(ModelSource(folder, random_seed=0, dtype="bfloat16"))
    assert all(torch.equal(exact[name].bfloat16(), rounded[name]) for name in exact if exact[name].dim() == 2)
