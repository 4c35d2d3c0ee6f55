"""Loading models: what is refused, and that nothing in their files is run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sae_stability.errors import StudyError
from sae_stability.models.dtypes import torch_dtype
from sae_stability.models.loading import head_kind, load_model, model_config
from sae_stability.models.source import ModelSource

ROOT = Path(__file__).parents[2]


def test_language_heads_are_told_from_the_checkpoint(models):
    kinds = {name: head_kind(model_config(ModelSource(str(folder)))) for name, folder in models.items()}
    assert kinds == {"bert": "masked", "gpt_neox": "causal", "gpt2": "causal"}
    config = model_config(ModelSource(str(models["bert"])))
    config.architectures = ["BertModel"]
    assert head_kind(config) is None


def test_the_source_says_the_precision_and_the_checksum(models):
    folder = str(models["gpt2"])
    assert load_model(ModelSource(folder, dtype="bfloat16"), "cpu").dtype == torch.bfloat16
    with pytest.raises(StudyError, match="expected 0000"):
        load_model(ModelSource(folder, sha256="0" * 64), "cpu")


def test_a_model_on_the_hub_that_is_out_of_reach_says_what_to_check(tmp_path):
    # A port that nobody listens on, a cache of nothing, and retries without the waits between them.
    code = (
        "import time\ntime.sleep = lambda seconds: None\n"
        "from sae_stability.models.loading import model_config\n"
        "from sae_stability.models.source import ModelSource\n"
        "from sae_stability.errors import StudyError\n"
        "try: model_config(ModelSource('nobody/none', 'v2'))\nexcept StudyError as error: print(error)"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": "workflow",
    }
    result = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.startswith("model 'nobody/none' (revision v2) cannot be loaded: ")
    assert result.stdout.endswith("; check the name, or the network\n")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_weights_that_are_a_pickle_with_code_are_refused_and_not_run(models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models["gpt_neox"], folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    load_model(ModelSource(str(folder)), "cpu")
    torch.save({**weights, "bomb": Bomb(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(StudyError, match="cannot be loaded"):
        load_model(ModelSource(str(folder)), "cpu")
    assert not (tmp_path / "ran").exists()


def test_models_without_files_and_unknown_dtypes_are_named(tmp_path):
    with pytest.raises(StudyError, match="cannot be loaded"):
        model_config(ModelSource(str(tmp_path)))
    with pytest.raises(StudyError, match="dtype 'int8' is unknown; allowed: float32, float16, bfloat16"):
        torch_dtype("int8")
