"""The jobs that stitch SAEs."""

import pytest

from sae_stability.pipeline import Pipeline, stitch
from tests.pipeline.words import flags_of
from tests.study_config import small_config

CHAIN = [{"cohort": "size-32", "seed": 1}, {"cohort": "base"}, {"cohort": "base", "seed": 2}]


@pytest.fixture
def stitched(pipeline_of) -> Pipeline:
    return pipeline_of(small_config() | {"stitches": {"sizes": {"chain": CHAIN, "order": "gain"}}})


def test_nothing_is_stitched_unless_asked_for(pipeline: Pipeline):
    assert stitch.results(pipeline) == {}
    assert stitch.cost(pipeline.study, {"sae_tflops": 1}) is None


def test_a_chain_is_one_job_with_all_its_pairs(stitched: Pipeline):
    assert stitch.jobs(stitched) == {"sizes": [1, 2]}
    flags = flags_of(stitch.command(stitched, "sizes", [1, 2]))
    saes = ["results/saes/size-32/seed-1", "results/saes/base/seed-0", "results/saes/base/seed-2"]
    assert flags["--sae"] == [f"{place}={folder}" for place, folder in enumerate(saes)]
    assert flags["--out"] == ["0-1=results/stitch/sizes/1", "1-2=results/stitch/sizes/2"]
    assert flags["--order"] == ["gain"]
    assert {f"{folder}/cfg.json" for folder in saes} <= set(stitch.inputs(stitched, "sizes", [1, 2]))
    assert "results/stitch/sizes/2/sae/sae.safetensors" in stitch.outputs(stitched, "sizes", [1, 2])
    assert stitch.cost(stitched.study, {"sae_tflops": 1}).tokens == 2 * 500


def test_a_pair_alone_takes_its_own_saes(stitched: Pipeline):
    flags = flags_of(stitch.command(stitched, "sizes", [2]))
    assert flags["--sae"] == ["1=results/saes/base/seed-0", "2=results/saes/base/seed-2"]
    assert flags["--out"] == ["1-2=results/stitch/sizes/2"]
    assert not any("size-32" in file for file in stitch.inputs(stitched, "sizes", [2]))


@pytest.mark.parametrize("change", [{"threshold": 0.5}, {"order": "cosine"}, {"order_seed": 1}, {"bias": "small"}])
def test_every_setting_counts(pipeline_of, change: dict):
    chain = {"chain": CHAIN}
    first, second = (pipeline_of(small_config() | {"stitches": {"it": chain | some}}) for some in ({}, change))
    marks = [some.fingerprints.stitch(some.study.stitches["it"], 1) for some in (first, second)]
    assert marks[0] != marks[1]
