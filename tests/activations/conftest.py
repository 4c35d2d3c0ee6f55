from pathlib import Path

import pytest

from sae_stability.activations.extraction import extract
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.models.source import ModelSource
from tests.tiny import HOOKPOINTS, sentences, tiny_bert, tiny_gpt2, tiny_gpt_neox


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    makers = {"bert": tiny_bert, "gpt_neox": tiny_gpt_neox, "gpt2": tiny_gpt2}
    return {name: make(folder / name) for name, make in makers.items()}


@pytest.fixture(scope="session")
def token_sets(models, tmp_path_factory):
    """Make (once) the token set of a model: 130 held-out and 1,000 training tokens, blocks of 16."""
    made: dict[tuple, Path] = {}

    def make(name: str, packing: bool = True, chunk_tokens: int = 400) -> Path:
        key = (name, packing, chunk_tokens)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("tokens")
            write_token_set(
                sentences(120, length=3),
                ModelSource(str(models[name])),
                context_length=16,
                packing=packing,
                heldout_tokens=130,
                train_tokens=1000,
                chunk_tokens=chunk_tokens,
                out=made[key],
            )
        return made[key]

    return make


@pytest.fixture
def run(models, token_sets, tmp_path):
    """Extract a chunk with small numbers; returns the folders, one a hookpoint."""

    def run_extract(name: str, chunk: int | str = 0, *, packing=True, chunk_tokens=400, out=None, **changes):
        hookpoints = changes.get("hookpoint", HOOKPOINTS[name])
        folder = chunk if isinstance(chunk, str) else f"chunk-{chunk:04d}"
        outs = [(out or tmp_path) / hookpoint.replace(":", "-") / folder for hookpoint in hookpoints]
        arguments = {
            "model": ModelSource(str(models[name])),
            "tokens": token_sets(name, packing, chunk_tokens),
            "chunk": chunk,
            "hookpoint": hookpoints,
            "out": outs,
            "dtype": "float32",
            "shard_rows": 150,
            "shuffle_seed": 0,
            "keep_special": False,
            "max_norm_multiple": None,
            "batch_tokens": 100,
            "device": "cpu",
            "chunk_tokens": chunk_tokens,
            "config_hash": "abc",
        }
        extract(**{**arguments, **changes})
        return outs

    return run_extract
