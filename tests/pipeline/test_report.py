"""The jobs that make the paper and Snakemake's report."""

import os
import shlex
from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, report, summary, workflow_report
from tests.pipeline.words import flags_of


def test_the_key_numbers_come_from_every_cohort(pipeline: Pipeline):
    flags = flags_of(summary.command(pipeline))
    assert (flags["--study"], flags["--base"]) == (["small"], ["base"])
    assert flags["--overlap"] == ["base=results/overlap/base", "size-32=results/overlap/size-32"]
    assert len(flags["--evaluation"]) == 5
    assert {word.partition("=")[2] for word in flags["--evaluation"]} <= set(summary.inputs(pipeline))


def test_the_first_page_says_what_the_study_is_about(pipeline: Pipeline):
    about = summary.about(pipeline.study, pipeline.study.cohorts["base"])
    assert about["model"] == "nobody/tiny"
    assert about["corpus"].startswith("kind hub, name nobody/web")
    assert about["seeds"] == "3, of the initial weights"
    assert about["training tokens"] == "4,000"
    assert "revision=None" not in summary.command(pipeline)


def test_it_says_of_a_matrix_and_of_saes_made_elsewhere_what_there_is(
    pipeline_of, matrix_config: dict, external_pipeline: Pipeline
):
    study = pipeline_of(matrix_config).study
    matrix = summary.about(study, study.cohorts["base"])
    assert matrix["matrix"] == "rows.npy"
    assert "model" not in matrix
    external = summary.about(external_pipeline.study, external_pipeline.study.cohorts["local"])
    assert external["SAEs"] == "made elsewhere"
    assert "architecture" not in external


def test_the_workflow_report_shows_every_figure_and_the_key_numbers(pipeline: Pipeline):
    figures = [f"results/figures/{figure}.{ending}" for figure in ("joint", "size") for ending in ("svg", "rst")]
    assert workflow_report.inputs(pipeline) == [*figures, "results/summary.rst"]


def test_the_paper_is_written_from_every_figure_and_evaluation(pipeline: Pipeline):
    flags = flags_of(report.command(pipeline))
    assert flags["--base"] == ["base"]
    assert flags["--figure"] == ["joint=results/figures/joint.json", "size=results/figures/size.json"]
    given = {word.partition("=")[2] for name in ("--figure", "--evaluation") for word in flags[name]}
    assert len(given) == 2 + 5
    assert given <= set(report.inputs(pipeline))


def test_the_paper_tells_what_cohorts_have_in_common_once(pipeline: Pipeline, external_pipeline: Pipeline):
    facts = report.facts(pipeline.study)
    assert facts["alike"]["architecture"] == "topk"
    assert facts["cohorts"]["base"]["latents"] == "64"
    assert facts["cohorts"]["size-32"]["latents"] == "32"
    assert not facts["alike"].keys() & facts["cohorts"]["base"].keys()
    assert facts["sources"][0][:2] == ["model", "nobody/tiny"]
    external = report.facts(external_pipeline.study)
    assert (external["trained"], external["base_tokens"]) == (0, None)


@pytest.mark.parametrize("config", [None, [], ["threshold=0.5", "study=two words"]])
def test_the_inner_snakemake_sees_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config):
    monkeypatch.chdir(tmp_path)
    files = [str(tmp_path / "my study.yaml"), "other.yaml"]
    words = shlex.split(workflow_report.snakemake_command(str(tmp_path / "deep" / "Snakefile"), files, config))
    expected = ["--snakefile", os.path.join("deep", "Snakefile"), "--configfile", "my study.yaml", "other.yaml"]
    assert words == expected + (["--config", *config] if config else [])
    assert workflow_report.snakemake_command("Snakefile", [], None) == "--snakefile Snakefile"
