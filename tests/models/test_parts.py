"""A part of a model is run by itself: encoder-decoders, and models of pictures and text."""

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from sae_stability.activations.hooks import Hooks
from sae_stability.errors import StudyError
from sae_stability.models.headers import has_lm_head
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.unloaded import missing_weights

TOKENS = torch.arange(5, 29).reshape(2, 12)


@pytest.fixture
def t5(tmp_path):
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=64, **sizes)).eval()
    model.save_pretrained(tmp_path)
    return model


@pytest.fixture
def clip(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 8, "patch_size": 4})
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    return model


def read(folder: str, part: str, hookpoint: str) -> torch.Tensor:
    model = load_model(ModelSource(folder, part=part), "cpu")
    with Hooks(model, [hookpoint]) as hooks, torch.no_grad():
        return hooks.run(input_ids=TOKENS)[hookpoint]


def test_the_encoder_of_an_encoder_decoder(t5, tmp_path):
    found = read(str(tmp_path), "encoder", "final_layer_norm")
    with torch.no_grad():
        expected = t5.encoder(input_ids=TOKENS).last_hidden_state
    torch.testing.assert_close(found, expected)


def test_the_text_tower_of_a_model_of_pictures(clip, tmp_path):
    found = read(str(tmp_path), "text_model", "final_layer_norm")
    with torch.no_grad():
        expected = clip.text_model(input_ids=TOKENS).last_hidden_state
    torch.testing.assert_close(found, expected)


def test_a_part_has_no_language_model_head(t5, tmp_path):
    assert has_lm_head(ModelSource(str(tmp_path), part="encoder")) is False


def test_weights_that_a_part_lacks_are_named(t5, tmp_path):
    gone = "encoder.block.1.layer.0.SelfAttention.k.weight"
    tensors = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if name != gone and not name.startswith("decoder.")}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    part = load_model(ModelSource(str(tmp_path), part="encoder"), "cpu")
    assert f"lack {gone}, decoder." in missing_weights(part)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("encodr", "no part 'encodr'; did you mean encoder?"),
        ("shared.weight", "no part"),
        ("encoder.block.0", "no tokens"),
    ],
)
def test_a_part_that_cannot_be_run_is_named(t5, tmp_path, part, words):
    with pytest.raises(StudyError) as error:
        load_model(ModelSource(str(tmp_path), part=part), "cpu")
    assert words in str(error.value)
