"""Loading models: what is refused, and that nothing in their files is run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae_stability.errors import StudyError
from sae_stability.models.dtypes import torch_dtype
from sae_stability.models.loading import head_kind, load_model, model_config
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from sae_stability.models.unloaded import missing_weights

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


def test_an_adapter_is_neither_applied_nor_ignored(models, tmp_path):
    folder = tmp_path / "tuned"
    shutil.copytree(models["gpt_neox"], folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    for load in (model_config, lambda source: load_model(source, "cpu")):
        with pytest.raises(StudyError, match=r"tuned': holds an adapter \(adapter_config\.json\); merge it"):
            load(ModelSource(str(folder)))


def changed_copy(models, tmp_path, change, **settings) -> ModelSource:
    """The tiny GPT-NeoX with its tensors changed by `change` (name -> tensor), and settings of its config.json."""
    folder = tmp_path / "changed"
    shutil.copytree(models["gpt_neox"], folder)
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    return ModelSource(str(folder))


def without(*ends: str):
    return lambda tensors: {name: value for name, value in tensors.items() if not name.endswith(ends)}


def test_weights_that_the_files_lack_are_nan_and_named(models, tmp_path):
    model = load_model(changed_copy(models, tmp_path, without("layers.1.mlp.dense_h_to_4h.weight")), "cpu")
    lacking = "layers.1.mlp.dense_h_to_4h.weight"
    assert [name for name, value in model.named_parameters() if value.isnan().any()] == [lacking]
    assert missing_weights(model) == f"the model's files lack {lacking} and have, unused, embed_out.weight"
    assert missing_weights(load_model(ModelSource(str(models["gpt_neox"])), "cpu")) is None


def test_names_with_a_prefix_are_named_on_both_sides(models, tmp_path):
    renamed = changed_copy(models, tmp_path, lambda tensors: {f"_orig_mod.{name}": t for name, t in tensors.items()})
    model = load_model(renamed, "cpu")
    assert all(value.isnan().all() for value in model.parameters())
    assert re.search(r"lack embed_in.weight, .* \(\d+ in all\) and have, unused, _orig_mod", missing_weights(model))


@pytest.mark.parametrize("lacking", ["embed_out.weight", "layers.0.mlp.dense_h_to_4h.bias"])
def test_a_model_that_runs_as_a_whole_may_lack_nothing(models, tmp_path, lacking):
    source = changed_copy(models, tmp_path, without(lacking))
    known = lacking.replace("embed_out", "lm_head")  # as transformers calls it
    with pytest.raises(StudyError, match=rf"its files lack (\w+\.)?{known}.*fetch it again"):
        load_model(source, "cpu", lm_head=True)


def test_biases_that_the_configuration_switches_off_are_refused(models, tmp_path):
    source = changed_copy(models, tmp_path, lambda tensors: tensors, attention_bias=False)
    with pytest.raises(StudyError, match=r"hold .*attention\..*\.bias, which its config.json switches off"):
        load_model(source, "cpu")


@pytest.mark.parametrize(
    "settings",
    [
        {"_attn_implementation": "flash_attention_2"},
        {"quantization_config": {"load_in_4bit": True, "quant_method": "bitsandbytes"}},
        {"num_attention_heads": "four"},
        {"hidden_act": "no such function"},
        {"model_type": "no-such-type"},
    ],
    ids=str,
)
def test_whatever_fails_in_loading_is_one_line(models, tmp_path, settings):
    with pytest.raises(StudyError, match=r"^model '.*changed' .*") as caught:
        load_model(changed_copy(models, tmp_path, lambda tensors: tensors, **settings), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"\xff" * 8 + data[8:], lambda data: b""])
def test_damaged_weights_are_one_line(models, tmp_path, damage):
    folder = tmp_path / "damaged"
    shutil.copytree(models["gpt_neox"], folder)
    (folder / "model.safetensors").write_bytes(damage((folder / "model.safetensors").read_bytes()))
    with pytest.raises(StudyError, match=r"^model '.*damaged' cannot be loaded: "):
        load_model(ModelSource(str(folder)), "cpu")


def test_code_that_a_model_brings_is_neither_run_nor_asked_about(models, tmp_path, monkeypatch):
    code = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoTokenizer": ["own.OwnTokenizer", None]}
    source = changed_copy(models, tmp_path, lambda tensors: tensors, model_type="own", auto_map=code)
    (source.folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    for load in (model_config, lambda source: load_model(source, "cpu")):
        with pytest.raises(StudyError, match=r"model '.*' brings Python code of its own, which is never run"):
            load(source)
    load_tokenizer(source)  # whose files are those of a tokenizer that transformers knows
    assert not (tmp_path / "ran").exists()


def test_models_without_files_and_unknown_dtypes_are_named(tmp_path):
    with pytest.raises(StudyError, match="cannot be loaded"):
        model_config(ModelSource(str(tmp_path)))
    with pytest.raises(StudyError, match="dtype 'int8' is unknown; allowed: float32, float16, bfloat16"):
        torch_dtype("int8")
