"""Chunks are as large as the budget of disk allows."""

import pytest

from sae_stability.study.build import Study
from tests.study_config import message, small_config

ROW = 2 * (2 * 32 + 8)  # two hookpoints of 32 float16 numbers and an index each


def config(budget: float | None, **tokens: object) -> dict:
    """The small study without chunk_tokens, its shards deleted after use."""
    made = small_config() | {"disk_budget": budget}
    made["tokens"]["tiny-web"] |= {"chunk_tokens": None, **tokens}
    made["passes"]["mlp"]["keep_shards"] = False
    return made


def chunk(made: dict, slug: str = "tiny-web") -> int:
    return Study.from_config(made).tokens[slug].chunk_tokens


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (None, 4000),
        (2 * 4000 * ROW, 4000),
        (2 * 4000 * ROW - 1, 2000),
        # 999 tokens would fit; 800 is the largest divisor of 4,000 below that.
        (2 * 999 * ROW, 800),
    ],
)
def test_two_chunks_fit_the_budget(budget, expected):
    assert chunk(config(budget)) == expected


def test_shards_that_are_kept_are_in_one_chunk_whatever_the_budget():
    made = config(1)
    made["passes"]["mlp"]["keep_shards"] = True
    assert chunk(made) == 4000


def test_a_stated_chunk_stays_and_the_others_share_the_rest_of_the_budget():
    made = config(2 * (1000 + 500) * ROW)
    made["tokens"]["other"] = made["tokens"]["tiny-web"] | {"chunk_tokens": 1000}
    made["passes"]["more"] = made["passes"]["mlp"] | {"tokens": "other"}
    made["cohorts"]["base"]["pass"] = "mlp"
    assert (chunk(made), chunk(made, "other")) == (500, 1000)
    made["tokens"]["other"]["chunk_tokens"] = None
    # Both have chunks of 750 tokens at most; 500 is the next divisor.
    assert (chunk(made), chunk(made, "other")) == (500, 500)


def test_a_budget_that_is_too_small_is_refused():
    assert "disk_budget: too small for even one token a chunk" in message(config(2 * ROW - 1))
    prime = message(config(2 * 1000 * ROW, train_tokens=1_000_003))
    assert "tokens.tiny-web.train_tokens: 1,000,003 has no divisor near 1,000" in prime
