"""The recipe for a stage in docs/contributing.md, followed to the letter: its code, its places, a real run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from tests import pages
from tests.workflow.conftest import Project

RECIPE = pages.section(pages.CONTRIBUTING, "To add a stage: eight places")


def add_stage(project: Project) -> None:
    """Add the stage `norms` as the page says."""
    for path, code in pages.files(RECIPE).items():
        file = project.folder / path
        assert not file.exists()
        file.write_text(code)
    for path, old, new in pages.changes(RECIPE):
        replace(project.folder / path, old, new)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name}:\n{old}"
    path.write_text(text.replace(old, new))


def test_the_recipe_names_its_eight_places():
    assert [RECIPE.count(f"\n**{place}. ") for place in range(1, 10)] == [1] * 8 + [0]
    assert len(pages.files(RECIPE)) == 3
    # The study is one place and two files: its schema and its object.
    assert len({path for path, _, _ in pages.changes(RECIPE)}) == 6


def test_a_stage_is_added_by_the_recipe(neox: Project):
    add_stage(neox)
    new = {"norms": 4, "all_norms": 1}
    assert neox.snakemake("all", "all_norms").jobs == new, "no other stage runs again"
    table = pd.read_parquet(neox.folder / "results/norms/base/seed-0.parquet")
    rows = load_file(neox.folder / "results/saes/base/seed-0/sae.safetensors")["encoder"]
    np.testing.assert_allclose(table["encoder"], np.linalg.norm(rows, axis=1), rtol=1e-6)
    np.testing.assert_allclose(table["decoder"], 1, rtol=1e-5)

    neox.edit(lambda study: study.update(norms={"order": 1}))
    assert neox.dry("all", "all_norms").jobs == new, "a setting of the stage is no other stage's"
    neox.edit(lambda study: study.pop("norms"))
    assert neox.dry("all_norms").nothing
    replace(neox.folder / "workflow/sae_stability/sae/quality/norms.py", "axis=1)", "axis=-1)")
    assert neox.dry("all", "all_norms").jobs == new
    plan = verb(neox, "plan", "study.yaml").stdout
    assert [line.split()[:2] for line in plan.splitlines() if line.startswith("norms")] == [["norms", "4"]]
    neox.edit(lambda study: study.update(norms={"order": 3}))
    refused = verb(neox, "validate", "study.yaml")
    assert refused.returncode == 2
    assert "norms.order" in refused.stderr


def verb(project: Project, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sae_stability", *words]
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "workflow")}
    return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
