"""The jobs that stitch SAEs."""

import pytest

from sae_stability.pipeline import Pipeline, figures, stitch
from sae_stability.pipeline.rates import rates_of
from tests.pipeline.words import flags_of
from tests.study_config import small_config

CHAIN = [{"cohort": "size-32", "seed": 1}, {"cohort": "base"}, {"cohort": "base", "seed": 2}]


@pytest.fixture
def stitched(pipeline_of) -> Pipeline:
    return pipeline_of(small_config() | {"stitches": {"sizes": {"chain": CHAIN, "order": "gain"}}})


def test_nothing_is_stitched_unless_asked_for(pipeline: Pipeline):
    assert stitch.results(pipeline) == {}
    assert stitch.cost(pipeline.study, rates_of(pipeline.study)) is None


def test_a_chain_is_one_job_with_all_its_pairs(stitched: Pipeline):
    assert stitch.jobs(stitched) == {"sizes": [1, 2]}
    flags = flags_of(stitch.command(stitched, "sizes", [1, 2]))
    saes = ["results/saes/size-32/seed-1", "results/saes/base/seed-0", "results/saes/base/seed-2"]
    assert flags["--sae"] == [f"{place}={folder}" for place, folder in enumerate(saes)]
    assert flags["--out"] == ["0-1=results/stitch/sizes/1", "1-2=results/stitch/sizes/2"]
    assert flags["--order"] == ["gain"]
    assert flags["--tokens"] == ["results/tokens/tiny-web/heldout.parquet"]
    assert flags["--hookpoint"] == ["layers.0.mlp"]
    assert {f"{folder}/cfg.json" for folder in saes} <= set(stitch.inputs(stitched, "sizes", [1, 2]))
    assert "results/stitch/sizes/2/sae/sae.safetensors" in stitch.outputs(stitched, "sizes", [1, 2])
    assert stitch.cost(stitched.study, rates_of(stitched.study)).tokens == 2 * 500


def test_a_pair_alone_takes_its_own_saes(stitched: Pipeline):
    flags = flags_of(stitch.command(stitched, "sizes", [2]))
    assert flags["--sae"] == ["1=results/saes/base/seed-0", "2=results/saes/base/seed-2"]
    assert flags["--out"] == ["1-2=results/stitch/sizes/2"]
    assert not any("size-32" in file for file in stitch.inputs(stitched, "sizes", [2]))


def test_each_two_saes_of_a_chain_are_stitched(pipeline_of):
    every = pipeline_of(small_config() | {"stitches": {"sizes": {"chain": CHAIN, "pairs": "all"}}})
    flags = flags_of(stitch.command(every, "sizes", [1, 2, 3]))
    assert flags["--out"] == [f"{pair}=results/stitch/sizes/{n}" for n, pair in enumerate(("0-1", "0-2", "1-2"), 1)]
    flags = flags_of(stitch.command(every, "sizes", [2]))
    assert [sae.partition("=")[0] for sae in flags["--sae"]] == ["0", "2"]


@pytest.mark.parametrize("change", [{"threshold": 0.5}, {"order": "cosine"}, {"order_seed": 1}, {"bias": "small"}])
def test_every_setting_counts(pipeline_of, change: dict):
    chain = {"chain": CHAIN}
    first, second = (pipeline_of(small_config() | {"stitches": {"it": chain | some}}) for some in ({}, change))
    marks = [some.fingerprints.stitch(some.study.stitches["it"], 1) for some in (first, second)]
    assert marks[0] != marks[1]


def test_a_figure_reads_every_pair_and_the_match_of_two_seeds(pipeline_of):
    chain = [{"cohort": "size-32"}, {"cohort": "base", "seed": 2}, {"cohort": "base", "seed": 1}]
    config = small_config() | {"stitches": {"it": {"chain": chain}}}
    config["figures"]["draw"] = {"insertion": {"stitch": "it"}}
    pipeline = pipeline_of(config)
    figure = pipeline.study.figures["insertion"]
    words = flags_of(figures.table_command(pipeline, figure))["--input"]
    assert "1=results/stitch/it/1/insertions.parquet" in words
    assert words[-2] == "2/a=results/matches/base/1-2.parquet", "the large SAE is the match's first"
    assert words[-1] == "2/overlap=results/overlap/base/pairs.parquet", "its threshold says what is shared"
    files = {word.partition("=")[2] for word in words}
    assert files == {file for some in figures.inputs(pipeline, figure).values() for file in some}
    before = pipeline.fingerprints.table(figure)
    other = pipeline_of(config | {"stitches": {"it": {"chain": chain, "threshold": 0.5}}})
    marks = [other.fingerprints.table(other.study.figures["insertion"])]
    other = pipeline_of(config | {"threshold": 0.6, "stitches": {"it": {"chain": chain, "threshold": 0.5}}})
    marks.append(other.fingerprints.table(other.study.figures["insertion"]))
    assert len({before, *marks}) == 3, "the thresholds of the chain and of the study both count"
