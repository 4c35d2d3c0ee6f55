"""Activations of texts in memory: the rows that extraction writes."""

import numpy as np
import pytest
import torch
import transformers

from sae_stability.activations import extract
from sae_stability.activations.reader import rows
from sae_stability.errors import StudyError
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from tests.tiny import HOOKPOINTS, sentences

TEXTS = sentences(120, length=3)  # those of the token sets


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("keep_special", [True, False])
@pytest.mark.parametrize("name", list(HOOKPOINTS))
def test_rows_are_those_that_extraction_writes(run, models, name, packing, keep_special):
    """The held-out rows are those of the first texts, in order."""
    found = extract(
        models[name], TEXTS, HOOKPOINTS[name], context_length=16, packing=packing, keep_special=keep_special
    )
    for hookpoint, out in zip(
        HOOKPOINTS[name], run(name, "heldout", packing=packing, keep_special=keep_special), strict=True
    ):
        expected = torch.cat([activations for activations, _ in rows(out)]).numpy()
        assert found[hookpoint].dtype == np.float32
        np.testing.assert_allclose(found[hookpoint][: len(expected)], expected, rtol=1e-4, atol=1e-5)
        assert len(found[hookpoint]) > 900


def test_a_loaded_model_gives_the_same_and_batches_change_little(models):
    expected = extract(str(models["gpt2"]), TEXTS[:20], ["h.0.mlp"], context_length=16)["h.0.mlp"]
    source = ModelSource(str(models["gpt2"]))
    assert np.array_equal(extract(source, TEXTS[:20], ["h.0.mlp"], context_length=16)["h.0.mlp"], expected)
    model = load_model(source, "cpu")
    given = {"context_length": 16, "tokenizer": load_tokenizer(source)}
    assert np.array_equal(extract(model, TEXTS[:20], ["h.0.mlp"], **given)["h.0.mlp"], expected)
    small = extract(model, TEXTS[:20], ["h.0.mlp"], **given, batch_tokens=1)["h.0.mlp"]
    np.testing.assert_allclose(small, expected, rtol=1e-4, atol=1e-5)


def test_a_loaded_model_keeps_its_mode(models):
    source = ModelSource(str(models["gpt2"]))
    model = load_model(source, "cpu")
    model.train()
    model.h[0].eval()
    before = [module.training for module in model.modules()]
    found = extract(model, TEXTS[:5], ["h.0.mlp"], context_length=16, tokenizer=load_tokenizer(source))
    assert [module.training for module in model.modules()] == before
    again = extract(source, TEXTS[:5], ["h.0.mlp"], context_length=16)
    assert np.array_equal(found["h.0.mlp"], again["h.0.mlp"]), "without dropout"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": "one text"}, "texts and hookpoints must be lists; put a single one in brackets"),
        ({"hookpoints": "h.0.mlp"}, "texts and hookpoints must be lists"),
        ({"texts": []}, "texts is empty; give a list of strings"),
        ({"texts": ["a", 3]}, "texts holds int; give a list of strings"),
        ({"hookpoints": []}, "hookpoints is empty"),
        ({"context_length": "a"}, "context_length: 'a' given; it must be a whole number"),
        ({"context_length": 0}, "context_length: 0 given; it must be at least 1"),
        ({"batch_tokens": 0}, "batch_tokens: 0 given; it must be at least 1"),
        ({"device": "tpu"}, "device: 'tpu' cannot be used here"),
        ({"texts": [""]}, "the texts make no block; give more text"),
        ({"texts": ["a"], "packing": True}, "the texts make no block"),
        ({"context_length": 65}, "context_length 65 is above the model's 64 positions"),
        ({"hookpoints": ["h.9"]}, "hookpoint 'h.9' is not in GPT2Model"),
        ({"model": torch.nn.Linear(2, 2)}, "a loaded model needs its tokenizer; give tokenizer="),
        ({"model": 3}, "model is int; give a name, a folder, a ModelSource or a model"),
        ({"model": "/no/such/folder"}, "/no/such/folder"),
    ],
)
def test_a_mistake_is_one_line(models, changes, message):
    given = {"model": models["gpt2"], "texts": TEXTS[:5], "hookpoints": ["h.0.mlp"], "context_length": 16}
    with pytest.raises(StudyError, match=message):
        extract(**given | changes)


def test_modules_with_the_positions_first_are_refused_even_where_batches_are_square(models):
    """XLNet's layers give (position, batch, width), which looks right for as many blocks as each has tokens."""
    config = transformers.XLNetConfig(vocab_size=400, d_model=32, n_layer=1, n_head=4, d_inner=64)
    tokenizer = load_tokenizer(ModelSource(str(models["gpt2"])))
    texts = [sentence * 2 for sentence in sentences(8, length=1)]
    with pytest.raises(StudyError, match=r"gives the shape \(8, 1, 32\) for \(1, 8\) tokens"):
        extract(
            transformers.XLNetModel(config), texts, ["layer.0"], context_length=8, batch_tokens=64, tokenizer=tokenizer
        )


def test_a_model_without_a_table_of_tokens(models):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.CanineConfig(**sizes, num_hash_functions=4, num_hash_buckets=64, local_transformer_stride=16)
    tokenizer = load_tokenizer(ModelSource(str(models["gpt2"])))
    found = extract(
        transformers.CanineModel(config), sentences(3), ["initial_char_encoder"], context_length=32, tokenizer=tokenizer
    )
    assert found["initial_char_encoder"].shape[1] == 32
