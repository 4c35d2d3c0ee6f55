"""Rates come from a file of measurements, the study, or assumptions, in this order."""

import json

import pytest

from sae_stability.errors import StudyError
from sae_stability.pipeline.plan import describe, format_plan, plan
from sae_stability.pipeline.rates import rates_of, write_rates
from sae_stability.study.build import Study
from tests.study_config import small_config


def study(**changes: object) -> Study:
    return Study.from_config({**small_config(), **changes})


def test_measured_rates_come_before_stated_ones_and_these_before_assumed_ones(tmp_path):
    file = tmp_path / "rates.json"
    write_rates({"device": "a core here", "sae_tflops": 3.0}, "cpu", file)
    rates = rates_of(study(plan={"sae_tflops": 5, "match_seconds": 7}), file)
    assert (rates.sae_tflops, rates.match_seconds, rates.model_tflops) == (3, 7, 0.08)
    text = format_plan(plan(study(plan={"match_seconds": 7}), rates))
    assert "Measured on a machine (calibrate): a worker is a core here; SAEs 3 x" in text
    assert "one assignment of 8,192 latents 7 core s" in text.partition("Stated in the study")[2].partition("\n")[0]
    assert "model 0.08 x" in text.partition("Assumed:")[2]


def test_rates_of_another_device_are_refused(tmp_path):
    file = tmp_path / "rates.json"
    write_rates({"device": "a core here", "sae_tflops": 3.0}, "cpu", file)
    with pytest.raises(StudyError, match="measured for device cpu, but the study's device is cuda"):
        rates_of(study(device="cuda"), file)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "sae_tflops: 3",
        "[]",
        json.dumps({"for": "cpu", "sae_tflops": 3}),
        json.dumps({"for": "cpu", "device": "here", "sae_tflops": "fast"}),
        json.dumps({"for": "cpu", "device": "here", "sae_tflops": 0}),
        json.dumps({"for": "cpu", "device": "here", "speed": 3}),
    ],
)
def test_what_is_no_file_of_rates_is_refused(tmp_path, text):
    file = tmp_path / "rates.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StudyError, match="not a file of rates; `sae-stability calibrate --out"):
        rates_of(study(), file)


def test_the_verb_takes_workers_and_rates(tmp_path):
    file = tmp_path / "rates.json"
    write_rates({"device": "a core here", "start_seconds": 3600.0}, "cpu", file)
    text = describe(workers=2, rates=file)
    assert "hours with 2 workers" in text
    assert "a job starts in 3.6e+03 core s" in text
