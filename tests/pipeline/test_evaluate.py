"""The jobs that evaluate."""

import pytest

from sae_stability.pipeline import Pipeline, evaluate
from sae_stability.study.parts import Cohort
from tests.pipeline.words import flags_of
from tests.study_config import small_config


def command(pipeline: Pipeline, cohort: Cohort, seeds: tuple[int, ...]) -> dict[str, list[str]]:
    """The flags of the job that evaluates these seeds."""
    return flags_of(evaluate.command(pipeline, cohort, seeds))


@pytest.fixture
def pairs(pipeline_of) -> Pipeline:
    """Two seeds a job."""
    config = small_config()
    config["cohort_defaults"]["seeds_per_job"] = 2
    return pipeline_of(config)


def test_a_job_evaluates_those_of_a_block_that_are_not_evaluated(pairs: Pipeline):
    assert evaluate.jobs(pairs) == {(0, 1): ["base", "size-32"], (2,): ["base"]}
    pairs.unfinished["evaluate"] = [("base", 1), ("base", 2), ("size-32", 1)]
    assert evaluate.jobs(pairs) == {(1,): ["base", "size-32"], (2,): ["base"]}
    pairs.unfinished["evaluate"] = []
    assert evaluate.jobs(pairs) == {}


def test_the_seeds_of_a_cohort_read_the_same_heldout_rows(pairs: Pipeline):
    cohort = pairs.study.cohorts["base"]
    first, second = (evaluate.inputs(pairs, cohort, seeds) for seeds in ((0, 1), (2,)))
    folder = "results/activations/mlp/layers.0.mlp/heldout"
    names = ["manifest.json", "shard-0000.safetensors", "shard-0001.safetensors"]
    assert first["heldout"] == second["heldout"] == [f"{folder}/{name}" for name in names]
    assert first["tokens"] == second["tokens"] == ["results/tokens/tiny-web/heldout.parquet"]
    assert len(first["saes"]) == 4


def test_each_sae_of_a_job_has_its_own_flags_in_one_order(pairs: Pipeline):
    cohort = pairs.study.cohorts["base"]
    flags = command(pairs, cohort, (0, 1))
    assert flags["--sae"] == ["results/saes/base/seed-0", "results/saes/base/seed-1"]
    assert flags["--sae-hash"] == [pairs.fingerprints.sae(cohort, seed) for seed in (0, 1)]
    assert flags["--config-hash"] == [pairs.fingerprints.evaluation(cohort, seed) for seed in (0, 1)]
    outputs = list(zip(flags["--out-json"], flags["--out-parquet"], strict=True))
    assert outputs == [tuple(evaluate.outputs(pairs.results, "base", seed)) for seed in (0, 1)]
    assert flags["--tokens"] == ["results/tokens/tiny-web/heldout.parquet"]
    assert (flags["--model"], flags["--hookpoint"]) == (["nobody/tiny"], ["layers.0.mlp"])


def test_a_matrix_has_no_model_to_score(pipeline_of, matrix_config: dict):
    pipeline = pipeline_of(matrix_config)
    flags = command(pipeline, pipeline.study.cohorts["base"], (0,))
    assert flags["--chunk"] == ["results/activations/own/matrix/heldout"]
    assert not {"--tokens", "--model", "--hookpoint"} & set(flags)
