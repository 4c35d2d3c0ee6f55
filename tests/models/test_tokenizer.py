"""Tokenizers: files that are missing are not made up."""

import shutil

import pytest

from sae_stability.errors import StudyError
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer


@pytest.mark.parametrize("name", ["bert", "gpt_neox", "gpt2"])
@pytest.mark.parametrize("gone", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]], ids=len)
def test_a_vocabulary_is_not_made_up(models, tmp_path, name, gone):
    folder = shutil.copytree(models[name], tmp_path / name)
    assert len(load_tokenizer(ModelSource(str(folder)))) > 100
    for file in gone:
        (folder / file).unlink()
    with pytest.raises(StudyError, match=rf"tokenizer '.*{name}'"):
        load_tokenizer(ModelSource(str(folder)))


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {"type": "BPE"}}', ""])
def test_a_damaged_tokenizer_is_one_line(models, tmp_path, content):
    folder = shutil.copytree(models["gpt_neox"], tmp_path / "damaged")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(StudyError, match=r"tokenizer '.*damaged' cannot be loaded: ") as caught:
        load_tokenizer(ModelSource(str(folder)))
    assert "\n" not in str(caught.value)
