"""A small study as plain data, for tests to change and break."""

import copy

import pytest

from sae_stability.errors import StudyError
from sae_stability.study.build import Study


def small_config() -> dict:
    """Two hookpoints of a model that no test loads, one cohort of three seeds, one sweep; 4 chunks of 1,000 tokens."""
    return copy.deepcopy(_CONFIG)


def changed(path: str, value: object) -> dict:
    """The small study with the entry at a dotted path set (or, for `...`, removed)."""
    config = small_config()
    *parents, last = path.split(".")
    section = config
    for name in parents:
        section = section.setdefault(name, {})
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return config


def message(config: dict) -> str:
    """The error message for a study that is refused."""
    with pytest.raises(StudyError) as error:
        Study.from_config(config)
    return str(error.value)


_CONFIG = {
    "study": "small",
    "models": {"tiny": {"name": "nobody/tiny", "d_model": 32, "parameters": 1000, "max_positions": 64}},
    "corpora": {"web": {"kind": "hub", "name": "nobody/web"}},
    "tokens": {
        "tiny-web": {
            "model": "tiny",
            "corpus": "web",
            "context_length": 16,
            "heldout_tokens": 500,
            "train_tokens": 4000,
            "chunk_tokens": 1000,
        }
    },
    "passes": {"mlp": {"tokens": "tiny-web", "hookpoints": ["layers.0.mlp", "layers.1.mlp"], "shard_tokens": 300}},
    "cohort_defaults": {"k": 4, "batch_size": 100, "warmup_steps": 5},
    "cohorts": {"base": {"hookpoint": "layers.0.mlp", "n_latents": 64, "init_seeds": [0, 1, 2]}},
    "sweeps": {"size": {"cohort": "base", "vary": {"n_latents": [32, 64]}, "init_seeds": [0, 1]}},
    "figures": {"draw": {"joint": {"cohort": "base"}, "size": {"sweep": "size"}}},
}
