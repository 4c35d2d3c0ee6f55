"""Tokenizers are checked against their models before a study starts."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sae_stability.errors import StudyError
from sae_stability.study.build import Study
from sae_stability.study.tokenizers import check_tokenizers
from sae_stability.study.validate import validate
from tests.study_config import small_config
from tests.tiny import tiny_gpt_neox


@pytest.fixture(scope="module")
def neox(tmp_path_factory) -> Path:
    return tiny_gpt_neox(tmp_path_factory.mktemp("neox"))


@pytest.fixture
def model(neox: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(neox, tmp_path / "model")


def study(model: Path, **tokens: object) -> Study:
    config = small_config()
    config["models"]["tiny"] = {"name": str(model)}
    config["tokens"]["tiny-web"] |= tokens
    return Study.from_config(config)


def fewer_tokens(model: Path, number: int) -> int:
    """Let the model know fewer tokens than its tokenizer makes; return how many these are."""
    path = model / "config.json"
    config = json.loads(path.read_text())
    vocabulary = config["vocab_size"]
    path.write_text(json.dumps(config | {"vocab_size": vocabulary - number}))
    return vocabulary


def test_a_tokenizer_with_more_tokens_than_its_model_is_refused(model):
    vocabulary = fewer_tokens(model, 1)
    with pytest.raises(StudyError) as caught:
        check_tokenizers(study(model))
    assert f"models.tiny: the tokenizer makes token {vocabulary - 1}, but the model knows {vocabulary - 1} tok" in str(
        caught.value
    )


def test_an_added_token_beyond_the_model_is_refused_only_where_blocks_hold_it(model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(model)
    check_tokenizers(study(model))
    with pytest.raises(StudyError, match="the tokenizer makes token"):
        check_tokenizers(study(model, packing=False))


def test_the_verb_refuses_a_model_without_tokenizer_files(model, tmp_path):
    config = small_config()
    config["models"]["tiny"] = {"name": str(model)}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    assert "study.yaml: valid" in validate(file)
    for path in model.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(StudyError, match=r"tokenizer '.*model'"):
        validate(file)
