"""The jobs that hold meta-SAEs against baselines."""

import pytest

from sae_stability.pipeline import Pipeline, choice, figures, meta
from sae_stability.pipeline.rates import rates_of
from tests.pipeline.words import flags_of
from tests.study_config import small_config


def meta_config() -> dict:
    config = small_config()
    config["passes"]["rows"] = {"decoder_of": [{"cohort": "base", "seed": 2}, {"cohort": "size-32", "seed": 0}]}
    config["cohorts"]["parts"] = {"pass": "rows", "n_latents": 8, "batch_size": 16, "epochs": 20}
    config["meta"] = {"directions": ["size-32"]}
    config["figures"]["draw"] = {"meta": {"cohort": "parts"}}
    return config


@pytest.fixture
def drawn(pipeline_of) -> Pipeline:
    return pipeline_of(meta_config())


def test_nothing_is_measured_that_no_figure_draws(pipeline: Pipeline):
    assert meta.results(pipeline) == {}
    assert meta.cost(pipeline.study, rates_of(pipeline.study)) is None


def test_a_job_names_the_meta_saes_the_rows_and_what_lends_directions(drawn: Pipeline):
    cohort = drawn.study.cohorts["parts"]
    assert meta.jobs(drawn) == ["parts"]
    flags = flags_of(meta.command(drawn, cohort))
    assert flags["--sae"] == ["0=results/saes/parts/seed-0", "1=results/saes/parts/seed-1"]
    assert flags["--directions"] == ["size-32=results/saes/size-32/seed-0"]
    assert flags["--part"] == ["base seed 2=64", "size-32 seed 0=32"]
    assert flags["--config-hash"] == [drawn.fingerprints.meta(cohort)]
    files = meta.inputs(drawn, cohort)
    assert "results/activations/rows/decoder/chunk-0000/manifest.json" in files
    assert "results/saes/size-32/seed-0/sae.safetensors" in files


def test_the_figure_shows_the_stability_of_what_was_taken_apart_and_of_what_lends_directions(drawn: Pipeline):
    words = figures.table_command(drawn, drawn.study.figures["meta"])
    assert flags_of(words)["--input"] == [
        *(f"parts=results/overlap/{cohort}" for cohort in ("parts", "base", "size-32")),
        *(f"parts=results/meta/parts/{table}.parquet" for table in ("baselines", "parts", "cosines", "graph")),
    ]


def test_the_explanations_of_what_is_taken_apart_are_chosen_from(pipeline_of):
    config = meta_config()
    config["firing"] = {"cohorts": ["base"]}
    config["interpret"] = {"cohorts": ["base"], "judges": {"words": {"kind": "lexical"}}, "explainers": ["words"]}
    assert choice.results(pipeline_of(config)) == {}
    config["interpret"]["choice"] = "words"
    pipeline = pipeline_of(config)
    cohort = pipeline.study.cohorts["parts"]
    assert choice.jobs(pipeline) == ["parts"]
    flags = flags_of(choice.command(pipeline, cohort))
    assert flags["--explanations"] == ["results/explanations/words/base/seed-2.parquet"]
    assert flags["--sae"] == ["results/saes/base/seed-2"]
    assert flags["--meta"] == ["0=results/saes/parts/seed-0", "1=results/saes/parts/seed-1"]
    assert flags["--explanations"][0] in choice.inputs(pipeline, cohort)
    words = figures.table_command(pipeline, pipeline.study.figures["meta"])
    assert flags_of(words)["--input"][-1] == "parts=results/meta/parts/choice.parquet"


def test_depths_go_down_to_activations_and_flat_saes_stand_beside_the_most_similar_size(pipeline_of):
    config = meta_config()
    config["passes"]["deeper"] = {"decoder_of": {"cohort": "parts", "seed": 1}}
    config["cohorts"]["deepest"] = {"pass": "deeper", "n_latents": 5, "batch_size": 8, "epochs": 20}
    config["figures"]["draw"]["meta-depth"] = {"cohort": "deepest"}
    config["cohorts"]["small"] = {**config["cohorts"]["base"], "n_latents": 6}
    config["meta"]["directions"] = ["small", "size-32"]
    pipeline = pipeline_of(config)
    words = figures.table_command(pipeline, pipeline.study.figures["meta-depth"])
    steps = [("2", "deepest"), ("1", "parts"), ("0", "base"), ("0", "size-32"), ("flat 2", "small")]
    assert flags_of(words)["--input"] == [f"{label}=results/overlap/{cohort}" for label, cohort in steps]
    files = figures.inputs(pipeline, pipeline.study.figures["meta-depth"])["tables"]
    assert {file.split("/")[2] for file in files} == {cohort for _, cohort in steps}
    assert meta.cohorts(pipeline.study) == [pipeline.study.cohorts["parts"]]


def test_lent_directions_count(pipeline_of, drawn: Pipeline):
    cohort = drawn.study.cohorts["parts"]
    before = drawn.fingerprints.meta(cohort)
    drawn.study.__dict__["meta_directions"] = ()
    assert Pipeline(drawn.study).fingerprints.meta(cohort) != before
