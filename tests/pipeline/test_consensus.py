"""The jobs that build the consensus of a cohort."""

from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, consensus, figures
from sae_stability.pipeline.rates import rates_of
from tests.pipeline.words import flags_of
from tests.study_config import small_config


@pytest.fixture
def drawn(pipeline_of) -> Pipeline:
    config = small_config()
    config["figures"]["draw"] = {"consensus": {"cohort": "base"}}
    return pipeline_of(config)


def test_nothing_is_built_that_no_figure_draws(pipeline: Pipeline):
    assert consensus.results(pipeline) == {}
    assert consensus.cost(pipeline.study, rates_of(pipeline.study)) is None


def test_a_cohort_that_is_drawn_is_one_job(drawn: Pipeline):
    cohort = drawn.study.cohorts["base"]
    assert drawn.unfinished["consensus"] == ["base"]
    flags = flags_of(consensus.command(drawn, cohort))
    read = consensus.inputs(drawn, cohort)
    for flag in ("--sae", "--latents", "--metrics", "--sae-hash"):
        assert [word.partition("=")[0] for word in flags[flag]] == ["0", "1", "2"]
    named = flags["--match"] + [word.partition("=")[2] for flag in ("--latents", "--metrics") for word in flags[flag]]
    assert set(named) <= set(read)
    assert {str(Path(file).parent) for file in read} >= {word.partition("=")[2] for word in flags["--sae"]}
    made = consensus.outputs(drawn, cohort)
    assert made[0] == "results/consensus/base/groups.parquet"
    assert "results/consensus/base/seed-2.json" in made


def test_the_figure_reads_its_tables(drawn: Pipeline):
    read = figures.inputs(drawn, drawn.study.figures["consensus"])["consensus"]
    assert len(read) == len(consensus.TABLES)
    assert set(read) < set(consensus.outputs(drawn, drawn.study.cohorts["base"]))


def test_the_threshold_counts(pipeline_of, drawn: Pipeline):
    config = small_config()
    config["threshold"] = 0.5
    other = pipeline_of(config)
    first, second = (some.fingerprints.consensus(some.study.cohorts["base"]) for some in (drawn, other))
    assert first != second
