"""Jobs side by side use different GPUs; a missing device gives a one-line error."""

import contextlib
import os
import tempfile

import pytest
import torch

from sae_stability import devices
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


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Sets the GPUs that this process may use, on a machine where torch finds one; lock files lie in a new folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "_check_cuda", lambda: None)
    return lambda ids: monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ids)


def claim(gpus, ids: str, stack: contextlib.ExitStack) -> str:
    """The GPU that a job gets when it may use these."""
    gpus(ids)
    stack.enter_context(claimed("cuda"))
    return os.environ["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize("ids", ["0,1", "3,5,7", "GPU-a,GPU-b", "MIG-GPU-a/1/0,MIG-GPU-a/2/0"])
def test_jobs_side_by_side_get_different_gpus(gpus, ids: str):
    with contextlib.ExitStack() as stack:
        assert [claim(gpus, ids, stack) for _ in ids.split(",")] == ids.split(",")


def test_a_gpu_is_free_again_after_its_job(gpus):
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            with contextlib.ExitStack() as job:
                assert claim(gpus, "0,1", job) == "0"
        assert claim(gpus, "0,1", stack) == "0"
        assert claim(gpus, "0,1", stack) == "1"


def test_a_single_gpu_is_shared_by_jobs_side_by_side(gpus):
    with contextlib.ExitStack() as stack:
        assert [claim(gpus, "2", stack) for _ in range(2)] == ["2", "2"]


def test_a_job_waits_until_a_gpu_is_free(gpus, monkeypatch):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        claim(gpus, "0,1", first)
        claim(gpus, "0,1", stack)
        # The first job ends while the third one waits.
        monkeypatch.setattr(devices.time, "sleep", lambda seconds: first.close())
        assert claim(gpus, "0,1", stack) == "0"
