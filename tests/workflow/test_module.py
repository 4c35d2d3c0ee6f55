"""The workflow as a module of another one, in another folder."""

import html
import re
import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, Project, new_project

# The page's own code, with the place of the checkout filled in.
(OUTER,) = re.findall(r"```python\n(configfile: .*?)```", (ROOT / "docs" / "guide.md").read_text(), re.DOTALL)
PLACE = "path/to/sae-stability/Snakefile"


@pytest.fixture
def outer(finished_matrix: Project, tmp_path: Path) -> Project:
    """A folder with the study and the Snakefile of another workflow; the project lies elsewhere."""
    checkout = new_project(tmp_path / "checkout", {})
    project = Project(tmp_path / "outer", configfile=None)
    project.folder.mkdir()
    for name in ("study.yaml", "rows.npy"):
        shutil.copy2(finished_matrix.folder / name, project.folder / name)
    (project.folder / "Snakefile").write_text(OUTER.replace(PLACE, str(checkout.folder / "Snakefile")))
    return project


def test_a_module_plans_what_the_workflow_itself_would(outer: Project, finished_matrix: Project):
    jobs = outer.dry().jobs
    assert jobs.pop("mine") == 1
    assert jobs["stability_train"] == 6
    itself = new_project(outer.folder.parent / "itself", finished_matrix.study)
    shutil.copy2(finished_matrix.folder / "rows.npy", itself.folder / "rows.npy")
    assert jobs == {f"stability_{name}": count for name, count in itself.dry().jobs.items()}


def test_a_module_runs_its_own_library_and_makes_the_report(outer: Project, finished_matrix: Project):
    shutil.copytree(finished_matrix.folder / "results", outer.folder / "results")
    figure, report = outer.folder / "results/figures/seeds.svg", outer.folder / "results/report.html"
    picture = figure.read_bytes()
    figure.unlink()
    report.unlink()
    run = outer.snakemake()
    assert run.jobs == {"stability_draw_seeds": 1, "stability_report": 1, "mine": 1}, "the rest is finished"
    assert figure.read_bytes() == picture
    paper = html.unescape(report.read_text())
    caption = " ".join((outer.folder / "results/figures/seeds.rst").read_text().split()[:5])
    assert caption in paper
    assert "Of the latents of one base SAE" in paper, "the key numbers are in its abstract"


def test_a_mistake_in_a_module_is_one_line(outer: Project):
    outer.edit(lambda study: study["cohort_defaults"].update(k=64))
    run = outer.snakemake("--dry-run", check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.output
    assert sum(line.startswith("error: ") for line in run.output.splitlines()) == 1
