"""Which results have still to be made."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.files import read_json, write_json, write_table
from sae_stability.pipeline import Pipeline
from sae_stability.pipeline.unfinished import fingerprint_in, note_stale, unfinished


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


def test_finished_results_are_not_to_be_made(results: dict):
    assert unfinished(results) == ([], {})


@pytest.mark.parametrize("file", [0, 1])
def test_a_missing_file_is_made_again_and_what_is_left_is_stale(results: dict, file: int):
    files = results["two"][0]
    Path(files[file]).unlink()
    assert unfinished(results) == (["two"], {"two": [files[1 - file]]})
    Path(files[1 - file]).unlink()
    assert unfinished(results) == (["two"], {})


def test_a_result_of_something_else_is_made_again(results: dict):
    write_json(results["one"][0][0], {"config_hash": "another"})
    assert unfinished(results) == (["one"], {"one": results["one"][0]})


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", ""])
def test_a_result_that_does_not_say_what_it_was_made_from_is_refused(results: dict, content: str):
    for name in ("one", "two"):
        Path(results[name][0][0]).write_text(content)
    with pytest.raises(StudyError, match=r"one/cfg\.json: is damaged, or .* \(2 such files\); delete it") as error:
        unfinished(results)
    assert len(str(error.value).splitlines()) == 1


def test_a_flipped_fingerprint_is_not_taken_for_another(results: dict):
    file = Path(results["one"][0][0])
    file.write_text(file.read_text().replace("hash of one", "hash of onf"))
    with pytest.raises(StudyError, match=r"one/cfg\.json: is damaged"):
        unfinished(results)


def test_the_note_is_newer_than_what_is_stale_and_is_let_alone_then(results: dict, tmp_path: Path):
    note, stale = tmp_path / "stale.json", results["one"][0]
    note_stale(note, [])
    assert note.exists()
    for clock in (0, 10**6):  # a file from the past, and one from the future
        for file in stale:
            os.utime(file, (note.stat().st_mtime + clock,) * 2)
        note_stale(note, stale)
        assert read_json(note) == {"stale": stale}
        assert note.stat().st_mtime > max(os.stat(file).st_mtime for file in stale)
    before = note.stat()
    note_stale(note, stale)
    assert note.stat() == before


def test_a_table_records_what_it_was_made_from_too(tmp_path: Path):
    file = str(tmp_path / "match.parquet")
    write_table(file, pd.DataFrame({"a": [1]}), {"config_hash": "hash"})
    assert fingerprint_in(file) == "hash"
    Path(file).write_bytes(b"damaged")
    assert fingerprint_in(file) is None
    assert fingerprint_in(str(tmp_path / "missing.parquet")) is None


def test_a_new_study_has_everything_to_make(pipeline: Pipeline):
    base, size = [("base", seed) for seed in (0, 1, 2)], [("size-32", seed) for seed in (0, 1)]
    hooks = ("layers.0.mlp", "layers.1.mlp")
    assert pipeline.unfinished == {
        "corpus": ["tiny-web"],
        "activations": [("mlp", chunk, hook) for chunk in ("heldout", "0", "1", "2", "3") for hook in hooks],
        "train": base + size,
        "external": [],
        "evaluate": base + size,
        "match": [("base", 0, 1), ("base", 0, 2), ("base", 1, 2), ("size-32", 0, 1)],
        "firing": [],
        "floors": [(n, 32, repeat) for n in (32, 64) for repeat in range(pipeline.study.floor_repeats)],
        "explain": [],
        "score": [],
        "fresh_tokens": [],
        "similarity": [],
        "substitution": [],
        "consensus": [],
        "meta": [],
        "choice": [],
        "stitch": [],
        "score_summary": [],
        "overlap": ["base", "size-32"],
        "tables": ["joint", "size"],
        "drawings": ["joint", "size"],
        "summary": ["summary"],
        "report": ["report"],
        "explorer": ["explorer"],
        "workflow_report": ["workflow_report"],
    }


def test_a_pipeline_leaves_out_what_is_finished_and_makes_again_what_is_stale(pipeline_of):
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
    pipeline = pipeline_of()
    pipeline.check()
    assert ("base", 1) in pipeline.unfinished["train"]
    assert pipeline.is_stale("train", [("base", 0), ("base", 1)])
    assert not pipeline.is_stale("train", [("base", 0)])
    assert pipeline.results.settings("base", 1) in read_json("results/stale.json")["stale"]
