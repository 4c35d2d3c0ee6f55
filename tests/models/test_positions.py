"""How long a block a model takes: what its configuration states, and what its tables allow."""

import pytest
import torch
import transformers

from sae_stability.models.positions import stated_positions, table_positions

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": -1}, None),
        ({"max_position_embeddings": 0}, None),
        ({"max_position_embeddings": None}, None),
        ({"max_position_embeddings": True}, None),
        ({}, None),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514}, 512),
        ({"model_type": "esm", "max_position_embeddings": 1026, "pad_token_id": 1}, 1024),
        ({"model_type": "esm", "max_position_embeddings": 1026, "position_embedding_type": "rotary"}, 1026),
        ({"model_type": "t5", "n_positions": 512}, None),
        ({"model_type": "mistral", "max_position_embeddings": 32768, "sliding_window": 4096}, 32768),
    ],
)
def test_what_a_configuration_states(config, expected):
    assert stated_positions(config) == expected


MODELS = {
    "bert": (transformers.BertConfig(**SMALL), 20),
    "roberta": (transformers.RobertaConfig(**SMALL, pad_token_id=1), 18),
    "xlm-roberta": (transformers.XLMRobertaConfig(**SMALL, pad_token_id=3), 16),
    "mpnet": (transformers.MPNetConfig(**SMALL), 18),
    "gpt2": (transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=20), 20),
    "opt": (transformers.OPTConfig(**SMALL, ffn_dim=16, word_embed_proj_dim=16), 20),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_limit_is_the_last_length_that_runs(name):
    config, expected = MODELS[name]
    model = transformers.AutoModel.from_config(config).eval()
    assert table_positions(model) == expected
    assert stated_positions(config.to_dict()) == expected
    model(input_ids=torch.full((1, expected), 10))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, expected + 1), 10))


@pytest.mark.parametrize(
    "config",
    [transformers.LlamaConfig(**SMALL), transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8)],
    ids=["rotary", "sliding window"],
)
def test_computed_positions_do_not_end(config):
    model = transformers.AutoModel.from_config(config).eval()
    assert table_positions(model) is None
    model(input_ids=torch.full((1, 40), 10))
