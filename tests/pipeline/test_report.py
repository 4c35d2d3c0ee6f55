"""The jobs that make the report."""

import os
import shlex
from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, report, summary
from tests.pipeline.words import flags_of
from tests.study_config import small_config


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
    assert not {"revision=None", "--note"} & set(summary.command(pipeline).split())


def test_the_first_page_has_the_studys_note(pipeline_of):
    noted = pipeline_of({**small_config(), "note": "Apache-2.0, 4 bits"})
    assert flags_of(summary.command(noted))["--note"] == ["Apache-2.0, 4 bits"]


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


def test_the_report_shows_every_figure_and_the_key_numbers(pipeline: Pipeline):
    figures = [f"results/figures/{figure}.{ending}" for figure in ("joint", "size") for ending in ("svg", "rst")]
    assert report.inputs(pipeline) == [*figures, "results/summary.rst"]


@pytest.mark.parametrize("config", [None, [], ["threshold=0.5", "study=two words"]])
def test_the_inner_snakemake_sees_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config):
    monkeypatch.chdir(tmp_path)
    files = [str(tmp_path / "my study.yaml"), "other.yaml"]
    words = shlex.split(report.snakemake_command(str(tmp_path / "deep" / "Snakefile"), files, config))
    expected = ["--snakefile", os.path.join("deep", "Snakefile"), "--configfile", "my study.yaml", "other.yaml"]
    assert words == expected + (["--config", *config] if config else [])
    assert report.snakemake_command("Snakefile", [], None) == "--snakefile Snakefile"
