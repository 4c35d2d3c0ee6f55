"""The jobs that train."""

import pytest

from sae_stability.pipeline import Pipeline, train
from tests.pipeline.words import flags_of
from tests.study_config import small_config


@pytest.fixture
def pairs(pipeline_of) -> Pipeline:
    """Two seeds a job."""
    config = small_config()
    config["cohort_defaults"]["seeds_per_job"] = 2
    return pipeline_of(config)


def test_the_first_chunk_has_no_state_before_it(pairs: Pipeline):
    cohort = pairs.study.cohorts["base"]
    found = train.inputs(pairs, cohort, (0, 1), 0)
    folder = "results/activations/mlp/layers.0.mlp/chunk-0000"
    assert found["manifest"] == found["first"] == f"{folder}/manifest.json"
    assert found["shards"] == [f"{folder}/shard-{shard:04d}.safetensors" for shard in range(4)]
    assert "previous" not in found


def test_a_later_chunk_goes_on_from_the_states_of_the_block(pairs: Pipeline):
    cohort = pairs.study.cohorts["base"]
    found = train.inputs(pairs, cohort, (0, 1), 3)
    assert found["previous"] == [f"results/states/seeds-0-1/base/seed-{seed}/chunk-0002.safetensors" for seed in (0, 1)]
    assert found["manifest"].endswith("chunk-0003/manifest.json")
    assert found["first"].endswith("chunk-0000/manifest.json")
    assert found["previous"] == train.states(pairs.results, "base", (0, 1), 2)


def test_each_sae_of_a_job_has_its_own_flags_in_one_order(pairs: Pipeline):
    cohort = pairs.study.cohorts["base"]
    flags = flags_of(train.command(pairs, cohort, (0, 1), 1))
    assert flags["--init-seed"] == ["0", "1"]
    assert flags["--previous"] == train.states(pairs.results, "base", (0, 1), 0)
    assert flags["--state-out"] == train.states(pairs.results, "base", (0, 1), 1)
    assert flags["--config-hash"] == [pairs.fingerprints.sae(cohort, seed) for seed in (0, 1)]
    assert len(set(flags["--checkpoint"])) == 2
    assert not {"--out", "--tensorboard"} & set(flags)
    assert (flags["--order-seed"], flags["--chunk-index"], flags["--n-latents"]) == (["0"], ["1"], ["64"])


def test_the_last_chunk_gives_saes_and_no_states(pairs: Pipeline):
    flags = flags_of(train.command(pairs, pairs.study.cohorts["base"], (0, 1), 3))
    assert flags["--out"] == ["results/saes/base/seed-0", "results/saes/base/seed-1"]
    assert "--state-out" not in flags
    assert len(flags["--previous"]) == 2


def test_checkpoints_of_two_chunks_or_cohorts_are_never_one(pairs: Pipeline):
    found = [
        file
        for cohort in pairs.study.trained.values()
        for chunk in range(4)
        for file in flags_of(train.command(pairs, cohort, (0, 1), chunk))["--checkpoint"]
    ]
    assert len(set(found)) == len(found) == 2 * 4 * 2


def test_event_files_are_written_where_the_study_asks_for_them(pipeline_of):
    config = small_config()
    config["cohorts"]["base"]["tensorboard"] = True
    pipeline = pipeline_of(config)
    flags = flags_of(train.command(pipeline, pipeline.study.cohorts["base"], (1,), 0))
    assert flags["--tensorboard"] == ["results/tensorboard/base/seed-1"]


def test_an_sae_has_its_own_order_seed_where_the_order_varies(pipeline_of):
    config = small_config()
    config["cohorts"]["base"].update(init_seeds=[7], order_seeds=[4, 5])
    pipeline = pipeline_of(config)
    flags = flags_of(train.command(pipeline, pipeline.study.cohorts["base"], (5,), 0))
    assert (flags["--init-seed"], flags["--order-seed"]) == (["7"], ["5"])


def test_settings_come_first_among_the_files_of_an_sae(pipeline: Pipeline):
    files = train.outputs(pipeline.results, "base", 0)
    assert files[0] == "results/saes/base/seed-0/cfg.json", "they record what the SAE was made from"
    assert len(set(files)) == 4
