"""The commands that Snakemake prints, repeated by hand; and what they import."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.conftest import Job, Project

# Importing torch takes seconds, so a job that does not compute with it must not wait for it.
WITHOUT_TORCH = ("match", "floor", "overlap", "figure-table", "figure", "summary")
WITH_TORCH = ("tokenize", "extract", "train", "evaluate")


@pytest.fixture(scope="module")
def finished(finished_neox: Project, tmp_path_factory) -> Project:
    """A copy of the finished study, in which commands are repeated."""
    folder = tmp_path_factory.mktemp("commands") / "project"
    return Project(shutil.copytree(finished_neox.folder, folder, symlinks=True))


@pytest.fixture(scope="module")
def commands(finished: Project, tmp_path_factory) -> dict[str, Job]:
    """A job of every verb, with its command as `snakemake -p` prints it for the study before it ran.

    What each reads is there in the finished study: so of the commands that train, take one of the first chunk, because
    a state between two chunks is deleted after use.
    """
    folder = tmp_path_factory.mktemp("printed") / "project"
    ignored = shutil.ignore_patterns(
        "tokens", "saes", "evaluation", "matches", "floors", "overlap", "figures", "summary.*", "report.*", ".snakemake"
    )
    project = Project(shutil.copytree(finished.folder, folder, symlinks=True, ignore=ignored))
    jobs = project.dry("--printshellcmds", "--forceall").commands
    return {job.verb: job for job in jobs if "--previous" not in job.command}


def run(project: Project, command: str, *python: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "workflow"), "OMP_NUM_THREADS": "1"}
    line = f"{sys.executable} {' '.join(python)} -m sae_stability {command}"
    return subprocess.run(line, shell=True, cwd=project.folder, env=environment, capture_output=True, text=True)


def imported(stderr: str) -> set[str]:
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in stderr.splitlines() if "import time:" in line}


def inputs_alone(finished: Project, job: Job, folder: Path) -> Project:
    """A folder with the code, the model, the text and the job's declared inputs: nothing else of the study."""
    for name in ("workflow", "model", "corpus.jsonl"):
        (folder / name).symlink_to(finished.folder / name)
    for file in job.inputs:
        if file.startswith("results/"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(finished.folder / file, folder / file)
    return Project(folder)


def test_every_stage_is_a_verb(commands: dict[str, Job]):
    assert {*WITHOUT_TORCH, *WITH_TORCH} <= set(commands)


@pytest.mark.parametrize("verb", [*WITHOUT_TORCH, *WITH_TORCH])
def test_a_printed_command_makes_the_outputs_from_the_declared_inputs(
    finished: Project, commands: dict[str, Job], verb: str, tmp_path: Path
):
    job = commands[verb]
    project = inputs_alone(finished, job, tmp_path)
    result = run(project, job.command, "-X", "importtime")
    assert result.returncode == 0, result.stderr[-2000:]
    assert job.outputs
    assert [file for file in job.outputs if not (project.folder / file).is_file()] == []
    modules = imported(result.stderr)
    assert "sae_stability" in modules
    if verb in WITHOUT_TORCH:
        assert not modules & {"torch", "transformers", "datasets"}
    if verb == "train":
        assert not modules & {"transformers", "datasets"}


def test_a_matrix_is_imported_without_transformers(finished: Project):
    import numpy as np

    np.save(finished.folder / "rows.npy", np.ones((20, 3), "float32"))
    command = (
        "import-matrix --matrix rows.npy --chunk 0 --heldout-rows 5 --train-rows 15 --chunk-rows 15 --shard-rows 15"
    )
    result = run(finished, f"{command} --out chunk", "-X", "importtime")
    assert result.returncode == 0, result.stderr[-2000:]
    assert not imported(result.stderr) & {"transformers", "datasets"}


def test_a_match_by_hand_says_what_it_found(finished: Project):
    from sae_stability.files import read_table

    saes = "results/saes/base/seed"
    result = run(
        finished, f"match --a {saes}-0 --b {saes}-0 --out same.parquet --a {saes}-0 --b {saes}-1 --out two.parquet"
    )
    first, second = result.stdout.splitlines()
    assert first.startswith("seed-0 and seed-0: shared at 0.7 1.000, same counterpart 1.000, joint 1.000, gap ")
    assert first.endswith("; same.parquet")
    table, _ = read_table(finished.folder / "two.parquet")
    same = table["counterpart_encoder"] == table["counterpart_decoder"]
    joint = (table["cosine_encoder"] >= 0.7) & (table["cosine_decoder"] >= 0.7)
    numbers = f"shared at 0.7 {(same & joint).mean():.3f}, same counterpart {same.mean():.3f}, joint {joint.mean():.3f}"
    assert second.startswith(f"seed-0 and seed-1: {numbers}, gap ")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("info no-such-folder", ["no-such-folder"]),
        ("validate no-such-study.yaml", ["no-such-study.yaml"]),
        ("match --a one --b two --out three", ["one"]),
        ("match --a one --b two --b three --out four", ["--b is given 2 times for 1 pairs"]),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(finished: Project, command: str, words: list[str]):
    result = run(finished, command)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
    for word in words:
        assert word in result.stderr


def test_what_a_person_wants_at_a_prompt(finished: Project):
    asked = {
        "--help": [rf"^\s+{verb}\s" for verb in ("validate", "plan", "train", "match", "info")],
        "validate study.yaml": ["^study.yaml: valid; 2 cohorts, 4 SAEs"],
        "plan study.yaml": ["^train "],
        "info results/saes/base/seed-0": ["n_latents: 48"],
    }
    for command, patterns in asked.items():
        result = run(finished, command)
        assert result.returncode == 0, result.stderr
        for pattern in patterns:
            assert re.search(pattern, result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ({"kind": "files", "paths": ["gone/*.txt"]}, "no file matches 'gone/*.txt'"),
        ({"kind": "docstrings", "packages": ["scipyy"]}, "'scipyy' is not installed"),
    ],
    ids=["files", "package"],
)
def test_text_that_is_not_there_is_no_valid_study(neox: Project, corpus: dict, words: str):
    neox.edit(lambda study: study["corpora"].update(stories=corpus))
    result = run(neox, "validate study.yaml")
    assert result.returncode == 2
    assert words in result.stderr


def test_a_hookpoint_that_the_model_lacks_is_named_with_the_nearest(neox: Project):
    def misspell(study):
        study["passes"]["first"]["hookpoints"] = ["layers.0.mpl"]
        for cohort in study["cohorts"].values():
            cohort["hookpoint"] = "layers.0.mpl"

    neox.edit(misspell)
    result = run(neox, "validate study.yaml")
    assert result.returncode == 2
    assert "layers.0.mpl" in result.stderr
    assert "layers.0.mlp" in result.stderr
