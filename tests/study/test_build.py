"""What a study's config becomes, and how files are laid over each other."""

import copy
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sae_stability.study.build import Study, complete, load_study, merge
from sae_stability.study.schema import load_yaml
from tests.study_config import changed, message, small_config

ROOT = Path(__file__).parents[2]
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]


def test_adding_a_pass_or_a_sweep_changes_no_cohort_that_exists():
    before = Study.from_config(small_config())
    config = changed("passes.more", {"tokens": "tiny-web", "hookpoints": ["layers.2.mlp"]})
    config["sweeps"]["layer"] = {"cohort": "base", "vary": {"hookpoint": ["layers.0.mlp", "layers.2.mlp"]}}
    after = Study.from_config(config)
    assert all(after.cohorts[name] == cohort for name, cohort in before.cohorts.items())
    assert after.passes["mlp"] == before.passes["mlp"]


def test_a_matrix_stands_in_for_model_and_text(tmp_path):
    np.save(tmp_path / "own.npy", np.zeros((600, 7), np.float32))
    config = {
        "study": "own",
        "passes": {"own": {"matrix": str(tmp_path / "own.npy"), "heldout_rows": 100, "train_rows": 500}},
        "cohort_defaults": {"k": 2, "batch_size": 10, "warmup_steps": 0},
        "cohorts": {"base": {"n_latents": 8}},
    }
    cohort = Study.from_config(config).cohorts["base"]
    assert (cohort.hookpoint, cohort.d_model, cohort.pass_.model, cohort.tokens) == ("matrix", 7, None, 500)
    config["passes"]["own"]["train_rows"] = 501
    assert "has 600 rows" in message(config)
    config["passes"]["own"] |= {"train_rows": 500, "d_model": 8}
    assert "has 7 columns" in message(config)


def test_widths_of_safetensors_matrices_come_from_their_header(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [600, 3], "data_offsets": [0, 7200]}}).encode()
    path = tmp_path / "own.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(7200))
    own = {"matrix": str(path), "heldout_rows": 10, "train_rows": 500}
    config = {"study": "own", "passes": {"own": own}, "cohorts": {"base": {"n_latents": 8, "k": 1, "warmup_steps": 0}}}
    config["cohorts"]["base"]["batch_size"] = 10
    assert Study.from_config(config).cohorts["base"].d_model == 3
    own["tensor"] = "y"
    assert "holds x" in message(config)
    path.write_bytes(b"\xff" * 16)
    assert "damaged header" in message(config)


def test_local_models_tell_their_width(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"n_embd": 48, "n_positions": 32}))
    config = changed("models.tiny", {"name": str(tmp_path)})
    assert Study.from_config(config).cohorts["base"].d_model == 48
    config["tokens"]["tiny-web"]["context_length"] = 33
    assert "32 positions" in message(config)


@pytest.fixture
def converted_model(tmp_path, monkeypatch):
    """What a study reads of the model that `make` converts to this folder: its width and positions."""
    model = tmp_path / "results" / "models" / "smollm2-135m-instruct"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"hidden_size": 576, "max_position_embeddings": 8192}))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("converted_model")
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_studies_in_the_repository_are_valid(path):
    study = load_study(path)
    assert max(len(cohort.seeds) for cohort in study.cohorts.values()) >= 3


def test_a_study_file_replaces_the_default_and_other_files_change_it(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("threshold: 0.5\n")
    assert load_study(overlay, default=ROOT / "config.yaml").name == "embedded"
    assert load_study(overlay, default=ROOT / "config.yaml").threshold == 0.5
    whole = load_study(ROOT / "studies" / "seed-overlap.yaml", overlay, default=ROOT / "config.yaml")
    assert (whole.name, whole.threshold) == ("seed-overlap", 0.5)
    assert "minilm" not in whole.models
    assert complete({}, ROOT / "config.yaml") == load_yaml(ROOT / "config.yaml")


def test_merging_goes_key_by_key_and_leaves_its_arguments_alone():
    under, over = {"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}, "e": 2}
    kept = copy.deepcopy((under, over))
    assert merge(under, over) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}
    assert (under, over) == kept


@pytest.mark.usefixtures("converted_model")
def test_snakemake_reads_the_same_study():
    from snakemake.common.configfile import load_configfile

    for path in STUDIES:
        assert Study.from_config(load_configfile(path)) == load_study(path)


def test_reading_a_study_imports_nothing_heavy():
    code = (
        "import sys; from sae_stability.study.build import load_study; load_study('config.yaml');"
        "print(*{'torch', 'transformers', 'numpy', 'pandas', 'pyarrow', 'snakemake'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": "workflow"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("", "")
