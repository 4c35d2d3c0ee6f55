"""The jobs that measure what latents fire on."""

import shlex

import pytest

from sae_stability import cli
from sae_stability.pipeline import Pipeline, firing, fresh_tokens
from sae_stability.pipeline.plan import plan
from sae_stability.pipeline.rates import rates_of
from sae_stability.study.build import Study
from sae_stability.verbs import VERBS
from tests.pipeline.words import flags_of
from tests.study_config import small_config

TABLES = [f"{folder}/base/seed-{{}}.parquet" for folder in ("firing", "contexts", "pools")]


def config(**settings: object) -> dict:
    return small_config() | {"firing": {"cohorts": ["base"], **settings}}


@pytest.fixture
def measured(pipeline_of) -> Pipeline:
    """Cohort `base`, of seeds 0, 1 and 2."""
    return pipeline_of(config())


def test_a_study_that_asks_for_nothing_measures_nothing(pipeline: Pipeline):
    assert firing.jobs(pipeline) == {}
    assert firing.all_outputs(pipeline) == []
    assert firing.cost(pipeline.study, rates_of(pipeline.study)) is None


def test_one_job_makes_the_tables_of_a_cohort(measured: Pipeline):
    (names,) = firing.jobs(measured).values()
    assert names == [("base", 0), ("base", 1), ("base", 2), ("base", 0, 1), ("base", 0, 2), ("base", 1, 2)]
    tables = [f"results/{table.format(seed)}" for seed in range(3) for table in TABLES]
    tables += [f"results/cofiring/base/{pair}.parquet" for pair in ("0-1", "0-2", "1-2")]
    assert firing.outputs(measured, names) == firing.all_outputs(measured) == tables


def test_a_new_seed_reads_the_others_for_its_pairs_and_writes_its_own(measured: Pipeline):
    measured.unfinished["firing"] = [("base", 2), ("base", 0, 2), ("base", 1, 2)]
    (names,) = firing.jobs(measured).values()
    flags = flags_of(firing.command(measured, names))
    assert flags["--sae"] == [f"{seed}=results/saes/base/seed-{seed}" for seed in range(3)]
    assert flags["--out"] == ["2=results/firing/base/seed-2.parquet"]
    assert flags["--contexts-out"] == ["2=results/contexts/base/seed-2.parquet"]
    assert flags["--match"] == ["0-2=results/matches/base/0-2.parquet", "1-2=results/matches/base/1-2.parquet"]
    assert flags["--cofiring-out"] == [f"{pair}=results/cofiring/base/{pair}.parquet" for pair in ("0-2", "1-2")]
    cohort, marks = measured.study.cohorts["base"], measured.fingerprints
    expected = [("2", marks.firing(cohort, 2)), *((f"{a}-2", marks.cofiring(cohort, a, 2)) for a in (0, 1))]
    assert flags["--config-hash"] == [f"{name}={made_from}" for name, made_from in expected]
    inputs = firing.inputs(measured, names)
    assert {f"results/saes/base/seed-{seed}/sae.safetensors" for seed in range(3)} <= set(inputs)
    assert [file for file in inputs if "matches" in file] == [file.split("=")[1] for file in flags["--match"]]


def test_the_verb_reads_the_command(pipeline_of):
    for settings in ({}, {"tokens": 400}, {"tokens": 501}):
        pipeline = pipeline_of(config(**settings))
        (names,) = firing.jobs(pipeline).values()
        given = cli.parser("firing", VERBS["firing"].load()).parse_args(shlex.split(firing.command(pipeline, names)))
        assert len(given.sae) == len(given.out) == len(given.match) == len(given.cofiring_out) == 3
        assert len(given.config_hash) == 6


def test_stored_rows_are_read_with_their_text(measured: Pipeline):
    (names,) = firing.jobs(measured).values()
    flags = flags_of(firing.command(measured, names))
    assert flags["--chunk"] == ["results/activations/mlp/layers.0.mlp/heldout"]
    assert flags["--tokens"] == ["results/tokens/tiny-web"]
    assert not {"--rows", "--model"} & set(flags)
    assert flags["--window"] == ["32"]
    assert "results/activations/mlp/layers.0.mlp/heldout/shard-0001.safetensors" in firing.inputs(measured, names)


def test_more_tokens_than_are_stored_come_from_further_text_and_the_model(pipeline_of):
    pipeline = pipeline_of(config(tokens=501))
    (names,) = firing.jobs(pipeline).values()
    flags = flags_of(firing.command(pipeline, names))
    assert (flags["--tokens"], flags["--model"]) == (["results/fresh-tokens/tiny-web"], ["nobody/tiny"])
    inputs = firing.inputs(pipeline, names)
    assert "results/fresh-tokens/tiny-web/heldout.parquet" in inputs
    assert not any("shard" in file for file in inputs)
    (tokens,) = fresh_tokens.token_sets(pipeline.study)
    assert flags_of(fresh_tokens.command(pipeline, tokens))["--count"] == ["501"]
    fewer = pipeline_of(config(tokens=400))
    assert fresh_tokens.token_sets(fewer.study) == []
    assert flags_of(firing.command(fewer, firing.jobs(fewer)["base"]))["--rows"] == ["400"]


def test_a_matrix_has_no_text(pipeline_of, matrix_config: dict):
    pipeline = pipeline_of(matrix_config | {"firing": {"cohorts": ["base"]}})
    (names,) = firing.jobs(pipeline).values()
    assert firing.outputs(pipeline, [("base", 0)]) == ["results/firing/base/seed-0.parquet"]
    assert not {"--tokens", "--contexts-out", "--window"} & set(flags_of(firing.command(pipeline, names)))


def test_what_each_table_is_made_from(pipeline_of, edited: set[str]):
    def marks(**settings: object) -> tuple[str, str]:
        pipeline = pipeline_of(config(**settings))
        cohort = pipeline.study.cohorts["base"]
        return pipeline.fingerprints.firing(cohort, 0), pipeline.fingerprints.cofiring(cohort, 0, 1)

    before = marks()
    for settings in ({"tokens": 400}, {"tokens": 600}, {"contexts": {"window": 16}}):
        assert not set(marks(**settings)) & set(before)
    edited.add("fresh-tokens")
    assert marks() == before
    edited.add("match")
    assert marks()[0] == before[0]
    assert marks()[1] != before[1]
    edited.add("firing")
    assert marks()[0] != before[0]


def test_the_plan_counts_rows_through_saes_and_what_lies_on_the_disk():
    def cost(**settings: object):
        return {stage.name: stage for stage in plan(Study.from_config(config(**settings))).stages}["firing"]

    assert (cost().jobs, cost().tokens) == (1, 3 * 500)
    assert (cost(tokens=1000).jobs, cost(tokens=1000).tokens) == (2, 3 * 1000)
    firings = 20 * 4  # bytes of a firing, and the k of the cohort
    assert cost(tokens=400).peak - cost(tokens=300).peak == 3 * 100 * firings
    contexts = cost(contexts={"top": 11}).written - cost().written
    assert contexts == 3 * 64 * 2 * 16 * 17  # SAEs, latents, splits, tokens a block, bytes a token
