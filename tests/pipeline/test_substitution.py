"""The jobs that swap latents for their counterparts."""

import pytest

from sae_stability.pipeline import Pipeline, figures, substitution
from sae_stability.pipeline.rates import rates_of
from tests.pipeline.words import flags_of
from tests.study_config import small_config


@pytest.fixture
def drawn(pipeline_of) -> Pipeline:
    config = small_config()
    config["figures"]["draw"] = {"worth": {"cohort": "base", "figure": "substitution"}, "pooling": {"cohort": "base"}}
    return pipeline_of(config)


def test_nothing_is_measured_that_no_figure_draws(pipeline: Pipeline):
    assert substitution.results(pipeline) == {}
    assert substitution.cost(pipeline.study, rates_of(pipeline.study)) is None


def test_a_cohort_that_is_drawn_is_one_job_with_all_its_pairs(drawn: Pipeline):
    pairs = [("base", 0, 1), ("base", 0, 2), ("base", 1, 2)]
    assert substitution.jobs(drawn) == {"base": pairs}
    flags = flags_of(substitution.command(drawn, pairs))
    folder = "results/substitution/base"
    assert flags["--out"] == [f"{name}={folder}/{name}.parquet" for name in ("0-1", "0-2", "1-2")]
    assert flags["--pooling-out"] == [f"{name}={folder}/{name}-pooling.parquet" for name in ("0-1", "0-2", "1-2")]
    assert flags["--match"] == [f"{name}=results/matches/base/{name}.parquet" for name in ("0-1", "0-2", "1-2")]
    assert len(flags["--sae"]) == len(flags["--sae-hash"]) == 3
    assert len(set(flags["--config-hash"])) == 3


def test_both_figures_read_every_table(drawn: Pipeline):
    made = substitution.outputs(drawn, [("base", 0, 1), ("base", 0, 2), ("base", 1, 2)])
    for figure in drawn.study.figures.values():
        assert figures.inputs(drawn, figure)["substitution"] == made


def test_the_threshold_counts(pipeline_of, drawn: Pipeline):
    config = small_config()
    config["threshold"] = 0.5
    other = pipeline_of(config)
    first, second = (some.fingerprints.substitution(some.study.cohorts["base"], 0, 1) for some in (drawn, other))
    assert first != second
