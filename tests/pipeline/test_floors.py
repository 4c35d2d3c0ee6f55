"""The jobs that match random dictionaries."""

from sae_stability.pipeline import Pipeline, floors
from tests.pipeline.words import flags_of
from tests.study_config import small_config


def test_the_repeats_of_a_shape_are_one_job(pipeline_of):
    pipeline = pipeline_of({**small_config(), "floor": {"repeats": 2}})
    assert floors.jobs(pipeline) == {
        "32x32": [(32, 32, 0), (32, 32, 1)],
        "64x32": [(64, 32, 0), (64, 32, 1)],
    }
    pipeline.unfinished["floors"] = [(64, 32, 1)]
    assert floors.jobs(pipeline) == {"64x32": [(64, 32, 1)]}


def test_a_command_has_one_shape_and_a_file_for_each_repeat(pipeline: Pipeline):
    repeats = [(64, 32, 0), (64, 32, 2)]
    out = ["results/floors/64x32/0.parquet", "results/floors/64x32/2.parquet"]
    assert floors.outputs(pipeline, repeats) == out
    assert flags_of(floors.command(pipeline, repeats)) == {
        "--n-latents": ["64"],
        "--d-model": ["32"],
        "--config-hash": [pipeline.fingerprints.floor()],
        "--rep": ["0", "2"],
        "--out": out,
    }
