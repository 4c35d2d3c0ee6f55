"""What a fingerprint hangs on."""

from pathlib import Path

import pytest

from sae_stability.pipeline.contents import Contents
from sae_stability.study.parts import Model


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json"])
def test_another_file_of_a_model_is_another_model(tmp_path: Path, name: str):
    folder = tmp_path / "model"
    folder.mkdir()
    model = Model(str(folder), slug="own", d_model=8, parameters=None, max_positions=None)
    found = []
    for content in ("one", "other"):
        (folder / name).write_text(content)
        found.append(Contents(tmp_path / "memory.json").of_model(model))
    assert found[0] != found[1]
