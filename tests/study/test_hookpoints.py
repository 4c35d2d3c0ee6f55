"""Hookpoints are checked against the model itself before a study starts."""

import pytest

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
