from pathlib import Path

import pytest

from tests.tiny import tiny_bert, tiny_gpt2, tiny_gpt_neox


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    makers = {"bert": tiny_bert, "gpt_neox": tiny_gpt_neox, "gpt2": tiny_gpt2}
    return {name: make(folder / name) for name, make in makers.items()}
