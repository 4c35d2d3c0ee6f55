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
        # LED, MPT and ChatGLM have names of their own for it; Llama's longer RoPE was scaled from a shorter one.
        ({"max_encoder_position_embeddings": 4096, "max_decoder_position_embeddings": 512}, 4096),
        ({"model_type": "mpt", "max_seq_len": 2048}, 2048),
        ({"model_type": "chatglm", "seq_length": 8192}, 8192),
        ({"model_type": "bloom", "seq_length": 2048}, None),
        ({"model_type": "phi3", "max_position_embeddings": 8192, "original_max_position_embeddings": 4096}, 8192),
        # ALiBi and DeBERTa's distances do not end.
        ({"model_type": "falcon", "max_position_embeddings": 2048, "alibi": True}, None),
        ({"model_type": "falcon", "max_position_embeddings": 2048, "alibi": False}, 2048),
        ({"max_position_embeddings": 512, "relative_attention": True, "position_biased_input": False}, None),
        ({"max_position_embeddings": 512, "relative_attention": True, "position_biased_input": True}, 512),
        ({"max_position_embeddings": "512"}, None),
        ({"max_position_embeddings": 512.0}, None),
        ({"model_type": "mistral", "max_position_embeddings": 32768, "sliding_window": 4096}, 32768),
    ],
)
def test_what_a_configuration_states(config, expected):
    assert stated_positions(config) == expected


BART = {
    "vocab_size": 50,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "max_position_embeddings": 20,
}
GPT = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 4, "n_positions": 20}
MODELS = {
    "bert": (transformers.BertConfig(**SMALL), 20),
    "roberta": (transformers.RobertaConfig(**SMALL, pad_token_id=1), 18),
    "xlm-roberta": (transformers.XLMRobertaConfig(**SMALL, pad_token_id=3), 16),
    "mpnet": (transformers.MPNetConfig(**SMALL), 18),
    "gpt2": (transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=20), 20),
    "opt": (transformers.OPTConfig(**SMALL, ffn_dim=16, word_embed_proj_dim=16), 20),
    # Two rows before the first position, and a list of positions that leaves no room for them.
    "nystromformer": (transformers.NystromformerConfig(**SMALL, segment_means_seq_len=4, num_landmarks=4), 20),
    # Sines, computed once.
    "gptj": (transformers.GPTJConfig(**GPT, rotary_dim=4), 20),
    "codegen": (transformers.CodeGenConfig(**GPT, rotary_dim=4), 20),
    "ctrl": (transformers.CTRLConfig(**GPT, dff=16), 20),
    "roformer": (transformers.RoFormerConfig(**SMALL, embedding_size=16), 20),
    "ibert": (transformers.IBertConfig(**SMALL, pad_token_id=1), 18),
    # Encoders of models with two halves.
    "bart": (transformers.BartConfig(**BART), 20),
    "marian": (transformers.MarianConfig(**BART, pad_token_id=1, decoder_start_token_id=2), 20),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_the_limit_is_the_last_length_that_runs(name):
    config, expected = MODELS[name]
    model = transformers.AutoModel.from_config(config).eval()
    if config.is_encoder_decoder:
        model = model.get_encoder()
    assert table_positions(model) == expected
    assert stated_positions(config.to_dict()) == expected
    model(input_ids=torch.full((1, expected), 10))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, expected + 1), 10))


@pytest.mark.parametrize(
    "config",
    [
        transformers.LlamaConfig(**SMALL),
        transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8),
        transformers.BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2),
        transformers.DebertaV2Config(
            **SMALL, relative_attention=True, position_biased_input=False, pos_att_type=["c2p"]
        ),
        # Its table of sines grows.
        transformers.XGLMConfig(
            vocab_size=50, d_model=16, ffn_dim=16, num_layers=1, attention_heads=2, max_position_embeddings=20
        ),
    ],
    ids=["rotary", "sliding window", "ALiBi", "distances", "sines"],
)
def test_computed_positions_do_not_end(config):
    model = transformers.AutoModel.from_config(config).eval()
    assert table_positions(model) is None
    model(input_ids=torch.full((1, 40), 10))
