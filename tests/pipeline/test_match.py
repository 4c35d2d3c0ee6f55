"""The jobs that match."""

from sae_stability.pipeline import Pipeline, match
from sae_stability.pipeline.batches import PAIRS
from tests.pipeline.words import flags_of
from tests.study_config import small_config


def test_the_pairs_of_a_small_cohort_are_one_job(pipeline: Pipeline):
    assert match.jobs(pipeline) == {
        "base": [("base", 0, 1), ("base", 0, 2), ("base", 1, 2)],
        "size_32": [("size-32", 0, 1)],
    }


def test_only_unfinished_pairs_are_matched(pipeline: Pipeline):
    pipeline.unfinished["match"] = [("base", 0, 2), ("base", 1, 2)]
    (pairs,) = match.jobs(pipeline).values()
    assert pairs == [("base", 0, 2), ("base", 1, 2)]
    assert match.outputs(pipeline, pairs) == ["results/matches/base/0-2.parquet", "results/matches/base/1-2.parquet"]


def test_a_seed_added_at_the_end_leaves_the_batches_before_it_as_they_are(pipeline_of):
    config = small_config()
    found = []
    for seeds in (12, 13):
        config["cohorts"]["base"]["init_seeds"] = list(range(seeds))
        found.append(match.jobs(pipeline_of(config)))
    before, after = found
    assert len(before["base_PART1"]) == PAIRS
    assert before["base_PART1"] == after["base_PART1"]
    assert set(before["base_PART2"]) < set(after["base_PART2"])


def test_each_sae_is_one_input_and_each_pair_one_set_of_flags(pipeline: Pipeline):
    pairs = match.jobs(pipeline)["base"]
    files = match.inputs(pipeline, pairs)
    saes = [f"results/saes/base/seed-{seed}" for seed in (0, 1, 2)]
    assert files == {
        "saes": [f"{sae}/{name}" for sae in saes for name in ("cfg.json", "sae.safetensors")],
        "latents": [f"results/evaluation/base/seed-{seed}.parquet" for seed in (0, 1, 2)],
    }
    out = match.outputs(pipeline, pairs)
    flags = flags_of(match.command(pipeline, pairs))
    assert flags["--a"] == [f"results/saes/base/seed-{a}" for a in (0, 0, 1)]
    assert flags["--b"] == [f"results/saes/base/seed-{b}" for b in (1, 2, 2)]
    assert flags["--latents-b"] == [f"results/evaluation/base/seed-{b}.parquet" for b in (1, 2, 2)]
    assert flags["--latents-a"] == [f"results/evaluation/base/seed-{a}.parquet" for a in (0, 0, 1)]
    assert flags["--out"] == out
    assert len(set(flags["--config-hash"])) == 3
    assert match.shape(pipeline.study, pairs) == (64, 32)
