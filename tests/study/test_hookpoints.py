"""Hookpoints are checked against the model itself before a study starts."""

import json

import pytest
import transformers

from sae_stability.errors import StudyError
from sae_stability.study.build import Study
from sae_stability.study.hookpoints import check_hookpoints
from tests.study_config import small_config
from tests.tiny import tiny_bert, tiny_gpt_neox


@pytest.fixture(scope="module")
def neox(tmp_path_factory) -> str:
    return str(tiny_gpt_neox(tmp_path_factory.mktemp("neox")))


def study(model: str, *hookpoints: str, d_model: int | None = None) -> Study:
    config = small_config()
    config["models"]["tiny"] = {"name": model}
    config["passes"]["mlp"] |= {"hookpoints": list(hookpoints), "d_model": d_model}
    config["cohorts"]["base"]["hookpoint"] = hookpoints[0]
    return Study.from_config(config)


def test_outputs_inputs_and_full_paths_are_accepted(neox):
    check_hookpoints(study(neox, "layers.0.mlp", "layers.1", "layers.1.attention.dense:in", "gpt_neox.layers.0.mlp"))


def test_bert_modules_are_found_by_their_paths(tmp_path):
    check_hookpoints(study(str(tiny_bert(tmp_path)), "encoder.layer.1.output.dense"))


@pytest.mark.parametrize(
    ("hookpoint", "expected"),
    [
        ("layers.0.mpl", "passes.mlp.hookpoints: layers.0.mpl: .* no such module; did you mean layers.0.mlp"),
        ("layers.2.mlp", r"layers.2.mlp: .* no such module; did you mean layers\.\d\.mlp"),
        ("layers.0.mlp:out", "':out' is unknown"),
        ("layers.0.mlp.dense_4h_to_h:in", r"passes.mlp.d_model: .* is 64 wide, not 32; .* d_model: 64"),
    ],
    ids=["misspelt", "layer too high", "unknown side", "another width"],
)
def test_what_the_model_does_not_have_is_named(neox, hookpoint, expected):
    with pytest.raises(StudyError, match=expected):
        check_hookpoints(study(neox, hookpoint))


def test_a_pass_of_another_width_says_so(neox):
    check_hookpoints(study(neox, "layers.0.mlp.dense_4h_to_h:in", d_model=64))


SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
# Models that cannot run on tokens without values, or are sent other ways by them.
UNUSUAL = {
    "experts": transformers.MixtralConfig(
        **SIZES, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, architectures=["MixtralForCausalLM"]
    ),
    "scaled rotary": transformers.LlamaConfig(
        **SIZES, num_key_value_heads=2, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    ),
    "sliding window": transformers.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4),
    "padding token 0": transformers.BertConfig(**SIZES, pad_token_id=0),
    "a package that is not there": transformers.LlamaConfig(
        **SIZES, num_key_value_heads=2, attn_implementation="flash_attention_2"
    ),
}


@pytest.mark.parametrize("name", list(UNUSUAL))
def test_a_trial_that_cannot_run_refuses_nothing(tmp_path, name, caplog):
    UNUSUAL[name].save_pretrained(tmp_path)
    if name == "a package that is not there":
        written = json.loads((tmp_path / "config.json").read_text()) | {"_attn_implementation": "flash_attention_2"}
        (tmp_path / "config.json").write_text(json.dumps(written))
    layer = "encoder.layer.1" if "padding" in name else "layers.1"
    notes = check_hookpoints(study(str(tmp_path), f"{layer}", f"{layer}:in"))
    assert all("extraction will tell" in note for note in notes)
    assert "Traceback" not in caplog.text
    if name in ("experts", "a package that is not there"):
        assert notes


def test_what_a_model_does_not_have_is_refused_even_if_it_cannot_be_tried(tmp_path):
    UNUSUAL["experts"].save_pretrained(tmp_path)
    with pytest.raises(StudyError, match=r"no such module; did you mean layers.1.mlp"):
        check_hookpoints(study(str(tmp_path), "layers.1.mlpp"))


def test_a_module_that_never_runs_is_refused(neox):
    with pytest.raises(StudyError, match="'layers': the module does not run"):
        check_hookpoints(study(neox, "layers"))
