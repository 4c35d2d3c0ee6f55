"""A GGUF file to a folder that studies can name."""

from pathlib import Path

import pytest
import torch

from sae_stability.errors import StudyError
from sae_stability.models.gguf import convert_gguf
from sae_stability.models.headers import has_lm_head
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer


def test_a_missing_or_another_file_is_refused(tmp_path: Path):
    with pytest.raises(StudyError, match=r"convert-gguf: .* holds no file a\.gguf; give the folder"):
        convert_gguf(folder=str(tmp_path), file="a.gguf", out=tmp_path / "out")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(StudyError, match=r"a\.gguf: has sha256 \w{64}, expected 00; fetch the file again"):
        convert_gguf(folder=str(tmp_path), file="a.gguf", sha256="00", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path):
    _needs("accelerate", "gguf")
    (tmp_path / "a.gguf").write_bytes(b"no model")
    with pytest.raises(StudyError, match=r"a\.gguf: transformers cannot read it"):
        convert_gguf(folder=str(tmp_path), file="a.gguf", out=tmp_path / "out")


def test_a_converted_model_keeps_its_weights_and_its_tokenizer(tmp_path: Path):
    """A tiny Llama with weights in float32, written with the library that defines the format."""
    _needs("accelerate", "gguf")
    written = _write_tiny_llama(tmp_path / "tiny.gguf")
    convert_gguf(folder=str(tmp_path), file="tiny.gguf", out=tmp_path / "out")
    source = ModelSource(str(tmp_path / "out"))
    weights = load_model(source, "cpu", lm_head=True).state_dict()
    assert torch.equal(weights["model.embed_tokens.weight"], written["token_embd.weight"])
    assert torch.equal(weights["model.layers.0.mlp.up_proj.weight"], written["blk.0.ffn_up.weight"])
    assert has_lm_head(source)
    assert load_tokenizer(source)("abab", add_special_tokens=False)["input_ids"] == [6]


def _needs(*packages: str) -> None:
    for package in packages:
        pytest.importorskip(package, reason="needs the extra [language-model]")


def _write_tiny_llama(path: Path) -> dict[str, torch.Tensor]:
    """One layer, 8 wide, 2 heads, 7 tokens: <unk> <s> </s> a b ab abab."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(12)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(7)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["<unk>", "<s>", "</s>", "a", "b", "ab", "abab"])
    writer.add_token_types([3, 3, 3, 1, 1, 1, 1])
    writer.add_token_merges(["a b", "ab ab"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd.weight": (7, 8), "output_norm.weight": (8,)}
    shapes |= {f"blk.0.{name}_norm.weight": (8,) for name in ("attn", "ffn")}
    shapes |= {f"blk.0.attn_{name}.weight": (8, 8) for name in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate.weight": (12, 8), "blk.0.ffn_up.weight": (12, 8), "blk.0.ffn_down.weight": (8, 12)}
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, weight in weights.items():
        writer.add_tensor(name, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
