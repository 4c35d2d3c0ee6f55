"""Which results have still to be made."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.files import write_json, write_table
from sae_stability.pipeline import Pipeline
from sae_stability.pipeline.unfinished import fingerprint_in, unfinished


@pytest.fixture
def results(tmp_path: Path) -> dict:
    """Two finished results, of two files each."""
    found = {}
    for name in ("one", "two"):
        files = [str(tmp_path / name / "cfg.json"), str(tmp_path / name / "weights")]
        write_json(files[0], {"config_hash": f"hash of {name}"})
        Path(files[1]).touch()
        found[name] = (files, f"hash of {name}")
    return found


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "metadata"
    folder.mkdir()
    (folder / "a record").touch()
    return folder


def test_finished_results_are_not_to_be_made(results: dict, tmp_path: Path):
    assert unfinished(results, tmp_path / "no records") == []


@pytest.mark.parametrize("file", [0, 1])
def test_a_missing_file_is_made_again_even_without_records(results: dict, tmp_path: Path, file: int):
    Path(results["two"][0][file]).unlink()
    assert unfinished(results, tmp_path / "no records") == ["two"]


@pytest.mark.parametrize("content", ['{"config_hash": "another"}', "{}", "[]", "not JSON", ""])
def test_a_result_of_something_else_or_damaged_is_made_again(results: dict, records: Path, content: str):
    Path(results["one"][0][0]).write_text(content)
    assert unfinished(results, records) == ["one"]


def test_a_stale_result_is_refused_where_snakemake_does_not_know_of_it(results: dict, tmp_path: Path):
    stale = {name: (files, "another") for name, (files, _) in results.items()}
    for records in (tmp_path / "no records", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(StudyError, match=r"one/cfg\.json: made from other settings .* \(2 such files\)") as error:
            unfinished(stale, records)
        assert len(str(error.value).splitlines()) == 1


def test_a_table_records_what_it_was_made_from_too(tmp_path: Path):
    file = str(tmp_path / "match.parquet")
    write_table(file, pd.DataFrame({"a": [1]}), {"config_hash": "hash"})
    assert fingerprint_in(file) == "hash"
    Path(file).write_bytes(b"damaged")
    assert fingerprint_in(file) is None
    assert fingerprint_in(str(tmp_path / "missing.parquet")) is None


def test_a_new_study_has_everything_to_make(pipeline: Pipeline):
    base, size = [("base", seed) for seed in (0, 1, 2)], [("size-32", seed) for seed in (0, 1)]
    assert pipeline.unfinished == {
        "train": base + size,
        "external": [],
        "evaluate": base + size,
        "match": [("base", 0, 1), ("base", 0, 2), ("base", 1, 2), ("size-32", 0, 1)],
        "floors": [(n, 32, repeat) for n in (32, 64) for repeat in range(pipeline.study.floor_repeats)],
    }


def test_a_pipeline_leaves_out_what_is_finished_and_refuses_what_is_stale(pipeline_of):
    pipeline = pipeline_of()
    cohort = pipeline.study.cohorts["base"]
    for file in ("settings", "weights", "metrics", "history"):
        path = Path(getattr(pipeline.results, file)("base", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"config_hash": pipeline.fingerprints.sae(cohort, 1)}))
    pipeline.check()
    assert ("base", 1) not in pipeline.unfinished["train"]
    assert pipeline.blocks["base"] == [(0,), (2,)]
    Path(pipeline.results.settings("base", 1)).write_text('{"config_hash": "another"}')
    with pytest.raises(StudyError, match=r"results/saes/base/seed-1/cfg\.json"):
        pipeline_of().check()
