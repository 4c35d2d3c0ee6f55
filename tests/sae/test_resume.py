"""A job killed at any moment goes on to the same bits; a checkpoint that does not fit is not believed."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sae_stability.errors import StudyError
from sae_stability.sae.settings import TrainSettings
from sae_stability.sae.train import train_chunk

JOB = """
import json, sys
from sae_stability.sae.settings import TrainSettings
from sae_stability.sae.train import train_chunk
arguments = json.loads(sys.argv[1])
train_chunk(settings=TrainSettings(**arguments.pop("settings")), progress=False, checkpoint_seconds=0.1, **arguments)
"""


def job(arguments: dict) -> subprocess.Popen:
    library = str(Path(__file__).parents[2] / "workflow")
    code = f"import sys; sys.path.insert(0, {library!r})\nfrom pathlib import Path" + JOB.replace(
        "**arguments)", "**{k: Path(v) if isinstance(v, str) else v for k, v in arguments.items()})"
    )
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(arguments)])


def arguments(planted, settings: TrainSettings, folder: Path) -> dict:
    return {
        "chunk": str(planted.chunks[0]),
        "chunk_index": 0,
        "settings": asdict(settings),
        "out": str(folder / "sae"),
        "checkpoint": str(folder / "checkpoint.safetensors"),
    }


def test_a_job_killed_at_random_moments_ends_with_the_same_bytes(planted, one_chunk, tmp_path) -> None:
    settings = replace(one_chunk, epochs=25, tokens=4096 * 25, auxk_alpha=1 / 32, dead_tokens=2000)
    train_chunk(chunk=planted.chunks[0], chunk_index=0, settings=settings, out=tmp_path / "whole", progress=False)
    given = arguments(planted, settings, tmp_path)
    checkpoint, pauses = Path(given["checkpoint"]), random.Random(0)
    kills = 0
    for _ in range(3):
        process = job(given)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.001)
        time.sleep(pauses.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    assert job(given).wait() == 0
    for name in ("sae.safetensors", "cfg.json", "metrics.json", "history.parquet"):
        assert (tmp_path / "sae" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not checkpoint.exists()


class Interrupted(Exception):
    pass


@pytest.fixture
def interrupted(planted, one_chunk, tmp_path, monkeypatch):
    """Arguments of a job that stopped at its 50th step, with a checkpoint after every step before."""
    from sae_stability.sae.progress import History

    given = {
        "chunk": planted.chunks[0],
        "chunk_index": 0,
        "settings": one_chunk,
        "checkpoint": tmp_path / "checkpoint.safetensors",
        "checkpoint_seconds": 0.0,
        "progress": False,
    }

    def stop(self, step, *rest):
        if step == 50:
            raise Interrupted
        return add(self, step, *rest)

    add = History.add
    with monkeypatch.context() as patch:
        patch.setattr(History, "add", stop)
        with pytest.raises(Interrupted):
            train_chunk(**given)
    assert given["checkpoint"].exists()
    return given


def first_step_taken(given: dict, monkeypatch) -> int:
    """Run the job again; the step that it started with."""
    from sae_stability.sae.progress import History

    seen, add = [], History.add
    monkeypatch.setattr(History, "add", lambda self, step, *rest: (seen.append(step), add(self, step, *rest))[1])
    train_chunk(**given)
    return seen[0]


def test_a_checkpoint_of_the_same_job_is_resumed(interrupted, monkeypatch) -> None:
    assert first_step_taken(interrupted, monkeypatch) == 50


def test_a_checkpoint_of_other_settings_is_passed_over(interrupted, monkeypatch) -> None:
    interrupted["settings"] = replace(interrupted["settings"], init_seed=7)
    assert first_step_taken(interrupted, monkeypatch) == 0


def test_a_checkpoint_of_other_activations_is_passed_over(planted, interrupted, monkeypatch) -> None:
    interrupted["chunk"] = planted.chunks[1]
    assert first_step_taken(interrupted, monkeypatch) == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped byte", "not safetensors"])
def test_a_damaged_checkpoint_is_passed_over_with_a_message(interrupted, monkeypatch, capsys, damage, tmp_path) -> None:
    path = interrupted["checkpoint"]
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "flipped byte":
        content[-100] ^= 1
    else:
        content = b"hello"
    path.write_bytes(bytes(content))
    assert first_step_taken(interrupted | {"out": tmp_path / "sae"}, monkeypatch) == 0
    assert "checkpoint passed over" in capsys.readouterr().err
    train_chunk(**(interrupted | {"out": tmp_path / "whole", "checkpoint": None}))
    assert (tmp_path / "sae/sae.safetensors").read_bytes() == (tmp_path / "whole/sae.safetensors").read_bytes()


def test_a_damaged_state_between_chunks_is_an_error_that_names_it(planted, train, tmp_path) -> None:
    train("a", planted.settings)
    state = tmp_path / "a-0.safetensors"
    content = bytearray(state.read_bytes())
    content[-100] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(StudyError, match=r"a-0.safetensors: damaged.*delete it and run again"):
        train_chunk(
            chunk=planted.chunks[1],
            chunk_index=1,
            settings=planted.settings,
            first_chunk_manifest=planted.chunks[0] / "manifest.json",
            previous=state,
            progress=False,
        )
