"""Chains of SAEs to stitch, and mistakes in them."""

import pytest

from sae_stability.study.build import Study
from tests.study_config import changed, message, small_config


def config(*chain: dict, **settings: object) -> dict:
    return small_config() | {"stitches": {"mine": {"chain": list(chain), **settings}}}


def test_a_chain_takes_the_first_seed_and_the_threshold_of_the_study():
    stitch = Study.from_config(config({"cohort": "size-32"}, {"cohort": "base", "seed": 2})).stitches["mine"]
    assert stitch.pairs == {1: (("size-32", 0), ("base", 2))}
    assert (stitch.threshold, stitch.order, stitch.order_seed, stitch.bias) == (0.7, "random", 0, "count")
    own = config({"cohort": "size-32"}, {"cohort": "base"}, threshold=-0.1)
    assert Study.from_config(own).stitches["mine"].threshold == -0.1


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ([{"cohort": "base"}], "stitches.mine.chain: needs at least 2"),
        ([{"cohort": "base"}, {"cohort": "bsae"}], r"chain[1].cohort: bsae: no such entry; did you mean base?"),
        (
            [{"cohort": "base"}, {"cohort": "base", "seed": 7}],
            "chain[1].seed: 7, but the seeds of cohort base are 0, 1, 2",
        ),
        ([{"cohort": "base"}, {"cohort": "base", "seed": 0}], "chain[1]: the same SAE as the one before it"),
        ([{"cohort": "base"}, {"cohort": "size-32"}], "cohort size-32 has 32 latents, base before it 64"),
    ],
)
def test_mistakes(chain: list, words: str):
    assert words in message(config(*chain))


def test_an_sae_stands_once_in_a_chain_of_all_pairs():
    chain = [{"cohort": "base", "seed": seed} for seed in (0, 1, 0)]
    assert len(Study.from_config(config(*chain)).stitches["mine"].pairs) == 2
    assert "holds base, seed 0, twice" in message(config(*chain, pairs="all"))


def test_saes_of_other_activations_are_refused():
    whole = changed("cohorts.other", {"hookpoint": "layers.1.mlp", "n_latents": 64})
    whole["stitches"] = {"mine": {"chain": [{"cohort": "base"}, {"cohort": "other"}]}}
    assert "other reads layers.1.mlp of pass mlp, but base before it layers.0.mlp" in message(whole)
    whole["cohorts"]["other"] = {
        "saes": [{"repo": "a/b", "folder": name} for name in "cd"],
        "n_latents": 64,
        "d_model": 32,
    }
    assert "cohort other has no activations to measure on; give it a pass" in message(whole)


def test_a_figure_of_a_chain():
    whole = config({"cohort": "base", "seed": 0}, {"cohort": "base", "seed": 1})
    whole["figures"]["draw"] = {"insertion": {"stitch": "mine"}}
    assert Study.from_config(whole).figures["insertion"].stitch == "mine"
    whole["figures"]["draw"] = {"insertion": {"stitch": "mien"}}
    assert message(whole) == "figures.draw.insertion.stitch: mien: no such entry; did you mean mine? Allowed: mine"
    whole["figures"]["draw"] = {"insertion": {"cohort": "base"}}
    assert "no figure of a cohort by that name" in message(whole)
