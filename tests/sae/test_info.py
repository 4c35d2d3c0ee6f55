from pathlib import Path

import numpy as np
import pytest

from sae_stability.errors import StudyError
from sae_stability.sae.formats.own import save
from sae_stability.sae.info import describe


def test_info_shows_shapes_and_settings(tmp_path: Path):
    matrix = np.ones((6, 4), "float32")
    tensors = {"encoder": matrix, "decoder": matrix, "encoder_bias": matrix[:, 0], "decoder_bias": matrix[0]}
    save(tmp_path / "sae", tensors, {"architecture": "topk", "n_latents": 6, "d_model": 4, "k": 2})
    text = describe(tmp_path / "sae")
    assert "encoder: float32 (6, 4)" in text
    assert "k: 2" in text


def test_info_refuses_a_folder_that_is_not_an_sae(tmp_path: Path):
    with pytest.raises(StudyError, match="no SAE in a known format"):
        describe(tmp_path)
