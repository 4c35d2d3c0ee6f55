import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sae_stability.errors import StudyError
from sae_stability.pipeline.runs import MARK, check_folder, claim, runs_jobs

HOLD = """
import sys
from pathlib import Path
from sae_stability.pipeline.runs import claim
print(claim(Path("results"), Path(".snakemake/locks")), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """A study's folder, with a lock of Snakemake on its results and one on others."""
    monkeypatch.chdir(tmp_path)
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("corpus.txt\nresults/stale.json\n")
    (locks / "1.output.lock").write_text("elsewhere/tokens\nresults-of-another/saes\n")
    return tmp_path


def run() -> subprocess.Popen:
    """A run that goes on until its standard input ends."""
    library = str(Path(__file__).parents[2] / "workflow")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"PYTHONPATH": library},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.said = process.stdout.readline().strip()
    return process


def locks() -> list[str]:
    return sorted(path.name for path in Path(".snakemake/locks").iterdir())


def test_a_second_run_is_refused_until_the_first_ends(here: Path):
    first = run()
    assert first.said == "None"
    with pytest.raises(StudyError, match=rf"results: another run \(process {first.pid} on .*\) goes on in this folder"):
        claim(Path("results"), Path(".snakemake/locks"))
    first.communicate("")
    assert not list(Path("results").iterdir())
    assert locks() == ["0.input.lock", "1.output.lock"], "a run that ended by itself is no killed one"
    second = run()
    assert second.said == "None"
    second.communicate("")


def test_the_lock_of_a_killed_run_is_removed_and_no_other(here: Path):
    first = run()
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = run()
    assert second.said == (
        f"note: the run before this one (process {first.pid}) was killed; the lock that it left is removed"
    )
    assert locks() == ["1.output.lock"]
    second.communicate("")


def test_the_lock_of_a_study_below_it_stays(here: Path):
    first = run()
    first.send_signal(signal.SIGKILL)
    first.wait()
    below = Path("results", "another")
    below.mkdir()
    (below / MARK).write_text(json.dumps({"process": 7, "host": "here"}))
    Path(".snakemake", "locks", "2.output.lock").write_text(f"{below}/saes/base\n")
    second = run()
    assert locks() == ["1.output.lock", "2.output.lock"]
    second.communicate("")


def test_the_lock_of_a_run_on_another_machine_is_named_and_stays(here: Path):
    Path("results").mkdir()
    Path("results", MARK).write_text(json.dumps({"process": 7, "host": "far-away"}))
    here_now = run()
    assert here_now.said.startswith("note: a run on far-away (process 7) left a lock; ")
    assert locks() == ["0.input.lock", "1.output.lock"]
    here_now.communicate("")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"process": "x"}', b'{"process": 7}'])
def test_a_damaged_mark_stops_nothing(here: Path, content: bytes):
    Path("results").mkdir()
    Path("results", MARK).write_bytes(content)
    process = run()
    assert process.said == "None"
    process.communicate("")


def test_a_file_in_the_place_of_the_results_is_named(tmp_path: Path):
    (tmp_path / "results").write_text("mine")
    for folder in ("results", "results/of/mine"):
        with pytest.raises(StudyError, match="results: is a file, but the study's results go there"):
            check_folder(tmp_path / folder)
    check_folder(tmp_path / "new" / "folder")


@pytest.mark.parametrize(
    ("flag", "expected"), [("cores", True), ("dryrun", False), ("unlock", False), ("summary", False)]
)
def test_what_runs_jobs(flag: str, expected: bool):
    assert runs_jobs(argparse.Namespace(**{flag: True})) == expected
