"""Facts that a local model's files tell without being loaded."""

import json

import pytest

from sae_stability.errors import StudyError
from sae_stability.models.headers import has_lm_head, model_facts, model_parameters
from sae_stability.models.source import ModelSource


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        (["GPTNeoXForCausalLM"], True),
        (["GPT2LMHeadModel"], True),
        (["BertForMaskedLM"], True),
        (["BertModel"], False),
        (["XLMRobertaModel"], False),
        (["XLMRobertaForSequenceClassification"], False),
        (None, False),
    ],
)
def test_local_models_tell_whether_they_have_a_language_model_head(tmp_path, architectures, expected):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": architectures}))
    assert has_lm_head(ModelSource(str(tmp_path))) is expected


def test_sizes_come_from_the_configuration_and_the_weights_headers(models):
    source = ModelSource(str(models["gpt2"]))
    assert model_facts(source) == {"d_model": 32, "max_positions": 64}
    from sae_stability.models.loading import load_model

    network = load_model(source, "cpu", lm_head=True)
    # The head shares its weights with the embedding, so they are stored once.
    assert model_parameters(source) == sum(weight.numel() for weight in network.parameters())


def test_a_hub_model_tells_nothing():
    source = ModelSource("nobody/none")
    assert model_facts(source) == {"d_model": None, "max_positions": None}
    assert has_lm_head(source) is None
    assert model_parameters(source) is None


def test_a_damaged_configuration_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(StudyError, match=r"config\.json: not readable as a model's configuration"):
        model_facts(ModelSource(str(tmp_path)))


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\xff" * 8])
def test_damaged_weights_are_named(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(StudyError, match=r"model\.safetensors: not readable as safetensors"):
        model_parameters(ModelSource(str(tmp_path)))


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_configuration_that_is_no_mapping_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(StudyError, match=r"config\.json: not readable as a model's configuration"):
        model_facts(ModelSource(str(tmp_path)))


@pytest.mark.parametrize("content", ['{"text_config": null}', '{"architectures": 3, "hidden_size": "wide"}'])
def test_a_configuration_of_odd_values_tells_nothing(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    source = ModelSource(str(tmp_path))
    assert model_facts(source) == {"d_model": None, "max_positions": None}
    assert has_lm_head(source) is False


def test_the_limit_of_a_composite_model_is_that_of_its_text(tmp_path):
    text = {"model_type": "altclip_text_model", "max_position_embeddings": 514, "pad_token_id": 1, "hidden_size": 16}
    config = {"model_type": "altclip", "max_position_embeddings": 9, "text_config": text}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_facts(ModelSource(str(tmp_path))) == {"d_model": 16, "max_positions": 512}
