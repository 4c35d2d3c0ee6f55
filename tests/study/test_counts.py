"""Absurd counts are refused in one line, before anything is listed."""

import tracemalloc

import pytest

from sae_stability.errors import StudyError
from sae_stability.study.build import Study
from sae_stability.study.schema import load_yaml
from tests.study_config import changed, message, small_config

MILLION, BILLION = 10**6, 10**9
MANY = list(range(8, 408))

ABSURD = {
    "seeds": ("cohorts.base.init_seeds", list(range(5000)), "cohorts.base: makes 5,000 of the study's 5,002 SAEs"),
    "pairs": (
        "cohorts.base.init_seeds",
        list(range(1000)),
        "cohorts.base: makes 499,500 of the study's 499,501 matches",
    ),
    "pairs of fewer seeds": (
        "cohorts.base.init_seeds",
        list(range(246)),
        "cohorts.base: makes 30,135 of the study's 30,136 matches, one for each pair of seeds; at most 30,000 can be",
    ),
    "floors": ("floor", {"repeats": BILLION}, "floor.repeats: makes 2,000,000,000 of the study's"),
    "shards": ("passes.mlp.shard_tokens", 1, "shards"),
    "a crossed sweep": (
        "sweeps.size.vary",
        {"n_latents": MANY, "k": [1, 2, 3, 4], "epochs": MANY},
        "sweeps.size.vary: 400 x 4 x 400 values make 640,000 cohorts; at most 1,000 can be planned",
    ),
}


def absurd(name: str) -> dict:
    path, value, _ = ABSURD[name]
    config = changed(path, value)
    if name == "shards":
        config["tokens"]["tiny-web"] |= {"train_tokens": 50 * MILLION, "chunk_tokens": MILLION}
        config["cohort_defaults"]["tokens"] = 50 * MILLION
    return config


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_counts_are_refused_in_one_line(name):
    tracemalloc.start()
    found = message(absurd(name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ABSURD[name][2] in found
    assert "\n" not in found
    assert peak < 300 * MILLION


def test_chunks_beyond_counting_are_refused():
    config = changed(
        "tokens.tiny-web", small_config()["tokens"]["tiny-web"] | {"train_tokens": 10**18, "chunk_tokens": 1000}
    )
    assert "tokens.tiny-web: makes 10^15 of the study's 10^15 chunks" in message(config)


def test_a_large_study_is_built():
    """800 cohorts of a sweep, each compared with all others by what it trains."""
    vary = {"n_latents": list(range(64, 264)), "epochs": [1, 2, 3, 4]}
    config = changed("sweeps.size.vary", vary)
    config["figures"]["draw"] = {"joint": {"cohort": "base"}}
    assert len(Study.from_config(config).cohorts) == 800


def test_aliases_of_aliases_are_refused(tmp_path):
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path = tmp_path / "study.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(StudyError, match=r"its aliases .* stand for more than 1,000,000 values"):
        load_yaml(path)
