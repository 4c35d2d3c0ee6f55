"""SAEs that other libraries saved, in place of training: a real run, and what runs again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability.sae import formats
from sae_stability.sae.weights import Weights
from tests.workflow.conftest import Project, new_project

FORMATS = ("sparsify", "saelens", "dictionary_learning")


def weights(seed: int, shared: int = 20) -> Weights:
    """A TopK SAE of 32 latents, 16 wide; the first `shared` are the same for every seed, in another order."""
    random = np.random.default_rng(seed)
    rows = np.random.default_rng(0).normal(size=(32, 16))
    rows[shared:] = random.normal(size=(32 - shared, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True))[random.permutation(32)].astype(np.float32)
    return Weights(rows, rows, np.zeros(32, np.float32), np.zeros(16, np.float32), activation="topk", k=4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    """One cohort of three SAEs in three formats with held-out rows, and one of a folder of seeds without any."""
    study = {
        "study": "external",
        "passes": {"mine": {"matrix": "rows.npy", "heldout_rows": 300, "train_rows": 300}},
        "cohorts": {
            "seen": {"saes": [f"checkpoints/{format}" for format in FORMATS], "pass": "mine"},
            "unseen": {"saes": ["checkpoints/layers.0.mlp"]},
        },
        "figures": {"draw": {"joint": {"cohort": "seen"}, "sharing": {"cohort": "unseen"}}},
        "floor": {"repeats": 2},
    }
    project = new_project(tmp_path_factory.mktemp("external") / "project", study)
    for seed, format in enumerate(FORMATS):
        formats.write(project.folder / "checkpoints" / format, weights(seed), format)
    for seed in (0, 1):
        formats.write(project.folder / "checkpoints" / "layers.0.mlp" / f"seed{seed}", weights(10 + seed), "sparsify")
    random = np.random.default_rng(3)
    np.save(project.folder / "rows.npy", random.normal(size=(600, 16)).astype(np.float32))
    project.snakemake()
    return project


@pytest.fixture
def external(finished: Project, tmp_path: Path) -> Project:
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_they_are_compared_without_any_training(finished: Project):
    results = finished.folder / "results"
    assert (results / "report.html").exists()
    assert not (results / "logs" / "train").exists()
    for cohort, pairs in (("seen", 3), ("unseen", 1)):
        table = pd.read_parquet(results / "overlap" / cohort / "pairs.parquet")
        found = table[(table.source == "trained") & (table.latents == "all")]
        assert len(found) == pairs
        # The planted latents, and by chance some of the few others.
        assert (found.shared >= 20 / 32).all()
        assert (found.shared < 1).all()


def test_they_are_evaluated_where_there_are_activations_and_else_all_alive(finished: Project):
    evaluation = finished.folder / "results" / "evaluation"
    seen = json.loads((evaluation / "seen" / "seed-0.json").read_text())
    assert seen["n_rows"] == 300
    assert seen["l0"] == pytest.approx(4, abs=0.01)
    unseen = json.loads((evaluation / "unseen" / "seed-0.json").read_text())
    assert (unseen["fvu"], unseen["n_rows"]) == (None, 0)
    assert pd.read_parquet(evaluation / "unseen" / "seed-1.parquet").alive.all()


def test_a_second_run_or_a_touch_does_nothing(external: Project):
    for path in (external.folder / "checkpoints").rglob("*.*"):
        if path.is_file():
            path.touch()
    # The report itself is left out: it names the study's folder, which is a copy here.
    assert external.dry("figures").nothing


def test_a_checkpoint_that_changed_and_one_more_are_read_and_matched_alone(external: Project):
    formats.write(external.folder / "checkpoints" / "saelens", weights(7), "saelens")
    formats.write(external.folder / "checkpoints" / "more", weights(5), "own")
    external.edit(lambda study: study["cohorts"]["seen"]["saes"].append("checkpoints/more"))
    run = external.dry()
    jobs = run.jobs
    assert run.matched == {f"seen/{pair}" for pair in ("0-1", "1-2", "0-3", "1-3", "2-3")}, "all but 0-2"
    assert run.evaluated == {"seen/seed-1", "seen/seed-3"}
    assert (jobs["import_sae_seen"], jobs["overlap"]) == (2, 1)
    assert not any(name.startswith(("import_heldout", "import_sae_unseen", "floor")) for name in jobs)


def test_a_missing_checkpoint_stops_before_the_first_job(external: Project):
    shutil.rmtree(external.folder / "checkpoints" / "saelens")
    run = external.snakemake("--dry-run", check=False)
    assert run.returncode != 0
    assert "checkpoints/saelens: no such file or folder" in " ".join(run.output.split())
    assert "Traceback" not in run.output
