"""The studies beside the embedded one: planned whole, by Snakemake and by `plan` alike."""

import re
import subprocess
from pathlib import Path

import yaml

from sae_stability.pipeline.plan import plan
from sae_stability.study.build import load_study
from tests.workflow.conftest import ROOT, new_project


def jobs_of(output: str) -> int:
    return int(re.findall(r"^total\s+(\d+)$", output, re.MULTILINE)[0])


def test_the_papers_study_builds_its_graph(tmp_path: Path):
    """With its longest chain of chunks, but fewer layers, sizes and seeds: the whole takes Snakemake a minute."""
    study = yaml.safe_load((ROOT / "studies" / "seed-overlap.yaml").read_text())
    study["cohorts"]["base"]["init_seeds"] = [1, 2]
    study["sweeps"]["size"]["vary"]["n_latents"] = [32, 32768]
    study["sweeps"]["k"]["vary"]["k"] = [32, 64]
    layers = study["sweeps"]["layer"]["vary"]
    layers.update(n_latents=[768], hookpoint={name: layers["hookpoint"][name] for name in ("layer 0", "layer 6")})
    project = new_project(tmp_path / "project", study)
    run = project.dry("--quiet", "rules")
    jobs = sum(stage.jobs for stage in plan(load_study(project.folder / "study.yaml")).stages)
    assert jobs > 1000
    # The target `all` is a job to Snakemake and none to the plan.
    assert jobs_of(run.output) == jobs + 1


def test_make_checks_a_study_of_ones_own_before_snakemake_reads_it():
    found = {}
    for study in ("", "mine.yaml"):
        command = ["make", "--dry-run", "--always-make", "run", f"STUDY={study}"]
        lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        words = ("sae_stability validate", "snakemake --cores")
        found[study] = [line.strip().split("bin/")[1] for line in lines if any(word in line for word in words)]
    assert found[""] == ["snakemake --cores all"]
    assert found["mine.yaml"] == [
        'python -m sae_stability validate "mine.yaml"',
        'snakemake --cores all --configfile "mine.yaml"',
    ]


def test_a_study_of_ones_own_needs_only_the_marked_lines(tmp_path: Path):
    from tests.tiny import tiny_gpt_neox

    text = (ROOT / "studies" / "bring-your-own.yaml").read_text()
    assert len(text.splitlines()) < 30
    text = text.replace("EleutherAI/pythia-70m, d_model: 512", "model").replace("layers.3.mlp", "layers.1.mlp")
    text = text.replace("context_length: 128", "context_length: 32")
    project = new_project(tmp_path / "project", {})
    (project.folder / "study.yaml").write_text(text)
    tiny_gpt_neox(project.folder / "model")
    (project.folder / "my-text").mkdir()
    (project.folder / "my-text" / "one.txt").write_text("Some text of one's own.")
    assert project.dry().jobs["train"] == 7
