"""The commands that Snakemake prints, repeated by hand; and what they import."""

import os
import re
import subprocess
import sys

import pytest

from tests.workflow.conftest import Project

# Importing torch takes seconds, so a job that does not compute with it must not wait for it.
WITHOUT_TORCH = ("match", "floor", "overlap", "figure-table", "figure", "summary")


@pytest.fixture(scope="module")
def commands(finished_neox: Project, tmp_path_factory) -> dict[str, str]:
    """A command of every verb, as `snakemake -p` prints it for a study with one more seed and repeat of the floor."""
    import shutil

    folder = tmp_path_factory.mktemp("commands") / "project"
    shutil.copytree(finished_neox.folder, folder, symlinks=True)
    project = Project(folder)
    project.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 2]))
    project.edit(lambda study: study.update(floor={"repeats": 3}))
    output = project.dry("--printshellcmds", "--forceall").output
    found = re.findall(r"python -m sae_stability (\S+) (.*) &> ", output)
    return {verb: f"{verb} {rest}" for verb, rest in found}


def run(project: Project, command: str, *python: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "workflow"), "OMP_NUM_THREADS": "1"}
    line = f"{sys.executable} {' '.join(python)} -m sae_stability {command}"
    return subprocess.run(line, shell=True, cwd=project.folder, env=environment, capture_output=True, text=True)


def imported(stderr: str) -> set[str]:
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in stderr.splitlines() if "import time:" in line}


def test_every_stage_is_a_verb(commands: dict[str, str]):
    assert {*WITHOUT_TORCH, "tokenize", "extract", "train", "evaluate"} <= set(commands)


@pytest.mark.parametrize("verb", WITHOUT_TORCH)
def test_a_printed_command_works_by_hand_without_torch(neox: Project, commands: dict[str, str], verb: str):
    if "seed-2" in commands[verb] or "base" in commands[verb]:
        # The copy holds two seeds of the base cohort: take the sweep's cohort in its place where it serves.
        commands = {verb: re.sub(r"seed-2", "seed-1", commands[verb]).replace("1-2.parquet", "0-1.parquet")}
    result = run(neox, commands[verb], "-X", "importtime")
    if verb in ("overlap", "summary"):
        # These read files of the third seed, which is not trained: what counts here is what they import until then.
        assert "Traceback" not in result.stderr
    else:
        assert result.returncode == 0, result.stderr[-2000:]
    assert not imported(result.stderr) & {"torch", "transformers", "datasets"}


def test_training_imports_no_transformers(neox: Project, commands: dict[str, str]):
    command = re.sub(r"--previous \S+|--chunk-index \d+", "", commands["train"]).replace("seed-2", "seed-0")
    result = run(neox, command, "-X", "importtime")
    assert not imported(result.stderr) & {"transformers", "datasets"}


def test_a_matrix_is_imported_without_transformers(neox: Project):
    import numpy as np

    np.save(neox.folder / "rows.npy", np.ones((20, 3), "float32"))
    command = (
        "import-matrix --matrix rows.npy --chunk 0 --heldout-rows 5 --train-rows 15 --chunk-rows 15 --shard-rows 15"
    )
    result = run(neox, f"{command} --out chunk", "-X", "importtime")
    assert result.returncode == 0, result.stderr[-2000:]
    assert not imported(result.stderr) & {"transformers", "datasets"}


def test_a_match_by_hand_says_what_it_found(neox: Project):
    from sae_stability.files import read_table

    saes = "results/saes/base/seed"
    result = run(
        neox, f"match --a {saes}-0 --b {saes}-0 --out same.parquet --a {saes}-0 --b {saes}-1 --out two.parquet"
    )
    first, second = result.stdout.splitlines()
    assert first.startswith("seed-0 and seed-0: same counterpart 1.000, joint at 0.7 1.000, gap ")
    assert first.endswith("; same.parquet")
    table, _ = read_table(neox.folder / "two.parquet")
    same = (table["counterpart_encoder"] == table["counterpart_decoder"]).mean()
    joint = ((table["cosine_encoder"] >= 0.7) & (table["cosine_decoder"] >= 0.7)).mean()
    assert second.startswith(f"seed-0 and seed-1: same counterpart {same:.3f}, joint at 0.7 {joint:.3f}, gap ")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("info no-such-folder", ["no-such-folder"]),
        ("validate no-such-study.yaml", ["no-such-study.yaml"]),
        ("match --a one --b two --out three", ["one"]),
        ("match --a one --b two --b three --out four", ["--b is given 2 times for 1 pairs"]),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(neox: Project, command: str, words: list[str]):
    result = run(neox, command)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
    for word in words:
        assert word in result.stderr


def test_what_a_person_wants_at_a_prompt(neox: Project):
    text = run(neox, "--help").stdout
    for verb in ("validate", "plan", "train", "match", "info"):
        assert re.search(rf"^\s+{verb}\s", text, re.MULTILINE)
    assert "valid" in run(neox, "validate study.yaml").stdout
    assert "train" in run(neox, "plan study.yaml").stdout
    assert "n_latents: 48" in run(neox, "info results/saes/base/seed-0").stdout


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
