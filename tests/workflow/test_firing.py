"""What latents fire on, in a real run: on further text through the model, for SAEs trained here and made elsewhere."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sae_stability.files import read_metadata
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights
from tests import pages, tiny
from tests.workflow.conftest import Project, new_project

HEADINGS = {
    "firing/base/seed-0.parquet": "Firing: `firing/COHORT/seed-N.parquet`",
    "contexts/base/seed-0.parquet": "Contexts: `contexts/COHORT/seed-N.parquet`",
    "cofiring/base/0-1.parquet": "Co-firing: `cofiring/COHORT/A-B.parquet`",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    place = {"pass": "mlp", "hookpoint": "layers.0.mlp"}
    study = {
        "study": "firing",
        "models": {"tiny": {"name": "model"}},
        "corpora": {"stories": {"kind": "files", "paths": ["corpus.jsonl"]}},
        "tokens": {
            "stories": {
                "model": "tiny",
                "corpus": "stories",
                "context_length": 32,
                "heldout_tokens": 300,
                "train_tokens": 1000,
            }
        },
        "passes": {"mlp": {"tokens": "stories", "hookpoints": ["layers.0.mlp"]}},
        "cohort_defaults": {"k": 4, "batch_size": 50, "warmup_steps": 2, "seeds_per_job": 2},
        "cohorts": {
            "base": {**place, "n_latents": 24, "init_seeds": [0, 1]},
            "elsewhere": {**place, "saes": ["checkpoints/a", "checkpoints/b"]},
        },
        "firing": {"cohorts": ["base", "elsewhere"], "tokens": 450, "contexts": {"window": 8, "top": 2, "random": 2}},
        "floor": {"repeats": 1},
    }
    project = new_project(tmp_path_factory.mktemp("firing") / "project", study)
    tiny.tiny_gpt_neox(project.folder / "model")
    tiny.tiny_corpus(project.folder)
    for seed, name in enumerate("ab"):
        rows = np.random.default_rng(seed).normal(size=(16, tiny.WIDTH)).astype(np.float32)
        zeros = np.zeros(16, np.float32), np.zeros(tiny.WIDTH, np.float32)
        formats.write(project.folder / "checkpoints" / name, Weights(rows, rows, *zeros, "topk", k=3), "saelens")
    project.snakemake("all_firing")
    return project


def test_every_table_is_there_and_documented(project: Project):
    for file, heading in HEADINGS.items():
        listed = pages.column_types(pages.section(pages.FORMATS, heading))
        for name in (file, file.replace("base", "elsewhere")):
            schema = pq.read_schema(project.folder / "results" / name)
            types = {field.name: str(getattr(field.type, "value_type", field.type)) for field in schema}
            # Arrow has two kinds of strings, which are one in the file.
            found = {column: kind.removeprefix("large_") for column, kind in types.items()}
            assert found == {column: words.split(",")[0] for column, words in listed.items()}
        assert set(read_metadata(project.folder / "results" / file)) >= {"config_hash"}
    assert not list(project.folder.glob("results/firing/*/.sorting"))


def test_rows_are_those_of_further_text(project: Project):
    results = project.folder / "results"
    assert read_metadata(results / "firing/base/seed-0.parquet")["rows"] == 450
    for cohort, k in (("base", 4), ("elsewhere", 3)):
        table = pd.read_parquet(results / f"firing/{cohort}/seed-1.parquet")
        assert table.fired.sum() == pytest.approx(k * 450, rel=0.05)


def test_a_change_makes_again_what_it_changes(project: Project):
    # Only the tables: nothing is trained, evaluated or matched again.
    assert project.dry("all_firing").nothing
    project.edit(lambda study: study["firing"]["contexts"].update(top=3))
    assert set(project.dry("all_firing").jobs) <= {"all_firing", "firing_base", "firing_elsewhere"}
    project.edit(lambda study: study["firing"].update(tokens=None, cohorts=["base"]))
    assert set(project.dry("all_firing").jobs) == {"all_firing", "firing_base"}
