"""Tokens that a latent boosts and suppresses: beside plain numpy and the model's own norm and head."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Gemma2Config, Gemma2ForCausalLM

from sae_stability.explorer.boosted import SHOWN, boosted
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.unembedding import unembedding
from sae_stability.sae.formats import own
from tests import tiny

N = 70  # more than one chunk


def tiny_gemma2(folder: Path) -> Path:
    """Gemma stores the weight of a norm less 1; this one has more rows than its tokenizer has tokens."""
    tiny.tiny_llama(folder)
    rows = len(load_file(folder / "model.safetensors")["lm_head.weight"]) + 8
    sizes = {"hidden_size": tiny.WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
    config = Gemma2Config(vocab_size=rows, intermediate_size=64, num_key_value_heads=2, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Gemma2ForCausalLM(config).save_pretrained(folder)
    return folder


# The model, its final norm, its head, and whether the norm takes the mean away and adds 1 to its weight.
MODELS = {
    "gpt_neox": (tiny.tiny_gpt_neox, "gpt_neox.final_layer_norm", "embed_out.weight", True, 0),
    "gpt2": (tiny.tiny_gpt2, "transformer.ln_f", "transformer.wte.weight", True, 0),  # tied
    "llama": (tiny.tiny_llama, "model.norm", "lm_head.weight", False, 0),
    "gemma2": (tiny_gemma2, "model.norm", "model.embed_tokens.weight", False, 1),
}


@pytest.fixture(scope="module")
def decoder() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, tiny.WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def sae(tmp_path_factory: pytest.TempPathFactory, decoder: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("sae") / "seed-0"
    biases = {"encoder_bias": np.zeros(N, np.float32), "decoder_bias": np.zeros(tiny.WIDTH, np.float32)}
    cfg = {"architecture": "topk", "n_latents": N, "d_model": tiny.WIDTH, "k": 2}
    own.save(folder, {"encoder": decoder, "decoder": decoder, **biases}, cfg)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_values_are_those_of_plain_numpy(tmp_path: Path, sae: Path, decoder: np.ndarray, name: str):
    make, norm, head, takes_mean, one = MODELS[name]
    file = make(tmp_path / "model") / "model.safetensors"
    tensors = load_file(file)
    weight = torch.from_numpy(np.random.default_rng(1).uniform(0.5, 2, tiny.WIDTH).astype(np.float32))
    tensors[f"{norm}.weight"] = weight - one
    # The layers need not be there: their weights are not read.
    kept = {key: value for key, value in tensors.items() if not any(f".{n}." in key for n in range(tiny.LAYERS))}
    assert len(kept) < len(tensors)
    save_file(kept, file, {"format": "pt"})
    found = unembedding(ModelSource(str(tmp_path / "model")))
    latents = {latent: ends for chunk in boosted(sae, found) for latent, ends in chunk.items()}
    assert list(latents) == list(range(N))
    rows = (tensors[head] * weight).double().numpy()[: len(found.tokenizer)]
    values = decoder.astype(np.float64) @ (rows - takes_mean * rows.mean(1, keepdims=True)).T
    for latent in (0, 63, 64, N - 1):
        order = np.argsort(values[latent])
        for ends, tokens in zip(latents[latent], (order[::-1][:SHOWN], order[:SHOWN]), strict=True):
            assert [piece for piece, _ in ends] == found.pieces(tokens.tolist())
            assert [value for _, value in ends] == pytest.approx(values[latent][tokens], rel=1e-3)


def test_a_model_of_random_weights_has_the_head_that_it_computes_with(tmp_path: Path):
    source = ModelSource(str(tiny.tiny_llama(tmp_path / "model")), random_seed=3)
    network = load_model(source, "cpu", lm_head=True)
    x = torch.randn(5, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = network.lm_head(network.model.norm(x)) * x.square().mean(1, keepdim=True).sqrt()
    assert torch.allclose(x @ unembedding(source).rows.T, logits, atol=1e-4)


@pytest.mark.parametrize("make", [tiny.tiny_bert, lambda folder: tiny.tiny_gpt_neox(folder, head=False)])
def test_a_model_whose_head_is_no_matrix_or_that_has_none_shows_nothing(tmp_path: Path, make):
    assert unembedding(ModelSource(str(make(tmp_path)))) is None


def test_an_sae_of_another_width_shows_nothing(tmp_path: Path, sae: Path):
    found = unembedding(ModelSource(str(tiny.tiny_gpt2(tmp_path))))
    narrow = type(found)(found.rows[:, 1:], found.tokenizer)
    assert list(boosted(sae, narrow)) == []


def test_pieces_keep_the_space_before_a_word_and_name_parts_of_characters(tmp_path: Path):
    found = unembedding(ModelSource(str(tiny.tiny_gpt2(tmp_path))))
    tokens = [found.tokenizer.convert_tokens_to_ids(token) for token in ("Ġthe", "a", "Ċ", "Ã")]
    assert found.pieces(tokens) == [" the", "a", "\n", "Ã"]
