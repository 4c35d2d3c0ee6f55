"""A missing device gives a one-line error."""

import pytest
import torch

from sae_stability.devices import claimed
from sae_stability.errors import StudyError


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_says_what_to_write(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with (
        pytest.raises(StudyError, match=r"device: cuda, but .* finds no GPU here; write `device: cpu`"),
        claimed("cuda"),
    ):
        pass
    with claimed("cpu") as device:
        assert device == "cpu"
