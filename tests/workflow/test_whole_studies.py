"""Whole studies by real Snakemake runs: what they make, killed half-way, and on other models and data."""

import html
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from sae_stability.figures import phrases
from sae_stability.files import read_json
from tests.workflow.conftest import Project, new_project, tiny_study


def test_a_study_makes_everything_it_promises(finished_neox: Project):
    results = finished_neox.folder / "results"
    assert (results / "workflow-report.html").stat().st_size > 100_000
    assert (results / "report.pdf").read_bytes().startswith(b"%PDF-")
    for figure in ("joint", "seeds", "size"):
        for ending in ("svg", "pdf", "png", "csv", "parquet", "rst"):
            assert (results / "figures" / f"{figure}.{ending}").stat().st_size > 0
    assert not list(results.rglob("*.tmp*"))
    assert not list((results / "states").rglob("*.safetensors")), "states between chunks are temporary"


def test_both_reports_show_captions_and_key_numbers(finished_neox: Project):
    results = finished_neox.folder / "results"
    workflow = (results / "workflow-report.html").read_text()
    paper = html.unescape((results / "report.html").read_text())
    pairs = pd.read_parquet(results / "overlap" / "base" / "pairs.parquet").set_index(["source", "latents"])
    (shared,) = pairs.loc[[("trained", "all")], "shared"]
    for page in (workflow, paper):
        assert f"Of the latents of one base SAE, {phrases.percent(shared)} are shared" in page
    for figure in ("joint", "seeds", "size"):
        first_words = " ".join((results / "figures" / f"{figure}.rst").read_text().split()[:5])
        assert f"<p>{first_words}" in workflow
        assert f"Figure {figure}.</strong> {first_words}" in paper
    quality = read_json(results / "evaluation" / "base" / "seed-0.json")
    assert f"{quality['n_rows']:,}" in workflow
    for setting in ("hookpoint layers.0.mlp", "latents 48", "training tokens 8,000", "architecture topk"):
        assert setting in workflow


def of_base_alone(finished: Project, folder: Path, **pass_settings) -> Project:
    """A new project with the base cohort of a finished study on a matrix, and no figures."""
    study = finished.study
    study["passes"]["mine"].update(pass_settings)
    study["cohorts"] = {"base": study["cohorts"]["base"]}
    study["sweeps"] = {}
    study["figures"] = {}
    project = new_project(folder, study)
    shutil.copy2(finished.folder / "rows.npy", folder / "rows.npy")
    return project


def test_a_study_keeps_others_out_and_after_a_kill_goes_on_to_the_same_bytes(finished_matrix: Project, tmp_path: Path):
    project = of_base_alone(finished_matrix, tmp_path / "project")
    # Jobs begin in the folder of the study: what lies there is no module of Python.
    (project.folder / "queue.py").write_text("raise SystemExit('not the queue of Python')\n")
    command = [sys.executable, "-P", "-m", "snakemake", "overlap_tables", "--cores", "2", "--configfile", "study.yaml"]
    process = subprocess.Popen(
        command, cwd=project.folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list(project.folder.glob("results/logs/train/**/*.log")), process)
    os.killpg(process.pid, signal.SIGSTOP)  # so that it does not end before the second run looks
    before = project.files(".running")
    second = project.snakemake("overlap_tables", check=False)
    assert second.returncode
    assert not second.jobs
    assert f"error: results: another run (process {process.pid} on " in second.output
    assert project.files(".running") == before
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = project.snakemake("overlap_tables")
    assert f"(process {process.pid}) was killed; the lock that it left is removed" in again.output
    assert not project.files(".running")
    for pattern in ("activations/**/*.*", "saes/base/**/*.safetensors", "evaluation/base/*", "overlap/base/*.parquet"):
        found = project.files(pattern)
        assert found
        assert found == finished_matrix.files(pattern), pattern


def test_the_same_study_gives_the_same_bytes_in_every_table(finished_neox: Project, tmp_path: Path):
    """Invariant 1, from the SAEs on: everything but the matches, which say how long they took.

    The second time, a job evaluates both SAEs of a cohort.
    """
    again = tmp_path / "project"
    shutil.copytree(finished_neox.folder, again, symlinks=True)
    project = Project(again)
    for stage in ("evaluation", "matches", "floors", "overlap", "figures"):
        shutil.rmtree(again / "results" / stage)
    project.edit(lambda study: study["cohort_defaults"].update(seeds_per_job=2))
    assert project.snakemake("figures").jobs["evaluate"] == 2
    for pattern in ("evaluation/**/*.*", "overlap/**/*.parquet", "figures/*.*", "summary.rst"):
        assert project.files(pattern) == finished_neox.files(pattern), pattern


def test_dropped_shards_come_back_for_a_new_seed_alone(finished_matrix: Project, tmp_path: Path):
    """`keep_shards: false`: a chunk's shards go once every SAE has used them."""
    project = of_base_alone(finished_matrix, tmp_path / "project", keep_shards=False, chunk_rows=1500)
    project.snakemake("saes")
    assert list(project.folder.glob("results/activations/mine/*/chunk-0001/manifest.json"))
    assert not list(project.folder.glob("results/activations/mine/*/chunk-*/shard-*"))
    before = project.files("saes/base/*/*")
    project.edit(lambda study: study["cohorts"]["base"].update(init_seeds=[0, 1, 2]))
    jobs = project.snakemake("saes").jobs
    assert jobs["import_chunk_mine"] == 2, "the manifests say that the shards are the same again"
    assert jobs["train"] == 1
    assert {name: content for name, content in project.files("saes/base/*/*").items() if name in before} == before


def test_a_bert_study_runs_with_packing_off(tmp_path: Path):
    from tests.tiny import tiny_bert, tiny_corpus

    study = tiny_study("model", "encoder.layer.{}.output.dense")
    study["tokens"]["stories"].update(packing=False, train_tokens=2000)
    study["passes"]["first"]["hookpoints"].append("encoder.layer.1.attention.output.dense:in")
    study["cohort_defaults"].update(tokens=4000)
    study["cohorts"] = {"heads": {"hookpoint": "encoder.layer.1.attention.output.dense:in", "init_seeds": [0, 1]}}
    study["sweeps"] = {}
    study["figures"] = {}
    project = new_project(tmp_path / "project", study)
    tiny_bert(project.folder / "model")
    tiny_corpus(project.folder, documents=300)
    project.snakemake("saes")
    quality = read_json(project.folder / "results" / "evaluation" / "heads" / "seed-1.json")
    assert quality["ce_tokens"] > 0, "a masked language model is scored too"
    assert quality["kl"] > 0


def test_a_given_matrix_stands_in_for_corpus_and_model(finished_matrix: Project, tmp_path: Path):
    import numpy as np

    assert (finished_matrix.folder / "results" / "report.html").exists()
    project = Project(shutil.copytree(finished_matrix.folder, tmp_path / "project", symlinks=True))
    assert project.dry().nothing
    rng = np.random.default_rng(1)
    np.save(project.folder / "rows.npy", rng.standard_normal((3300, 16)).astype("float32"))
    jobs = project.dry().jobs
    assert jobs["import_chunk_mine"] == 1
    assert jobs["train"] == 6


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None, "Snakemake ended early"
        assert time.time() < end, "waited too long"
        time.sleep(0.05)
