"""A job killed at any moment resumes to the same bits; a checkpoint that does not fit is ignored."""

import itertools
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest

from sae_stability.errors import StudyError
from sae_stability.sae.training import train
from sae_stability.sae.training.history import History
from sae_stability.sae.training.train import train_chunk
from tests.sae.training import killed

KILLS = 25
FILES = (
    "state-0.safetensors",
    *(f"sae/{name}" for name in ("sae.safetensors", "cfg.json", "metrics.json", "history.parquet")),
)

# A process is killed at a random time after it has written one of these. None: it may not have started to train. A new
# checkpoint ensures progress. The state is the border between two chunks; `sae` is the writing of the SAE.
AWAITED = (None, "checkpoint.safetensors", None, "state-0.safetensors", "checkpoint.safetensors", "sae")


@pytest.fixture(scope="module")
def processes():
    """Makes processes that start at once, forked from a server that has loaded everything and has no threads."""
    context = multiprocessing.get_context("forkserver")
    # A server left by another test has loaded nothing, so each process would take seconds to start.
    forkserver._forkserver._stop()
    context.set_forkserver_preload(["pytest", "tests.sae.training.warm"])
    root = Path(__file__).parents[3]
    with pytest.MonkeyPatch.context() as patch:  # in Python 3.11 the server does not inherit sys.path
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root / "workflow"), str(root)]))
        forkserver.ensure_running()
    return context.Process


def time_of(path: Path) -> int | None:
    """Time of the last write to the file, or None if it does not exist."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def kill_at_a_random_moment(process, folder: Path, awaited: str | None, pause: float) -> bool:
    """Start `process` and kill it `pause` seconds after it wrote `awaited`. Returns whether it was still running."""
    path = folder / (awaited or "")
    before = time_of(path)
    process.start()
    while awaited and process.is_alive() and time_of(path) in (None, before):
        time.sleep(0.0005)
    process.join(pause)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "change",
    [
        {"n_latents": 128, "auxk_alpha": 1 / 32, "dead_tokens": 300},
        {"architecture": "jumprelu", "bandwidth": 0.1},
        {"control": "soft-frozen-decoder", "learning_rate": 1e-2},
    ],
    ids=["topk with auxk", "jumprelu", "soft-frozen decoder"],
)
def test_a_training_killed_at_25_random_moments_ends_with_the_same_bytes(planted, processes, tmp_path, change) -> None:
    settings = replace(planted.settings, **change)

    def process(folder: Path):
        return processes(target=killed.run, args=(folder, planted.chunks, settings))

    whole = process(tmp_path / "whole")
    whole.start()
    started = time.perf_counter()
    whole.join()
    length, moments, kills = time.perf_counter() - started, random.Random(0), 0
    while kills < KILLS:  # a training finishes after some kills; then another one starts
        folder = tmp_path / f"from kill {kills}"
        for awaited in itertools.cycle(AWAITED):
            pause = moments.uniform(0, length / (50 if awaited in ("state-0.safetensors", "sae") else 4))
            if not kill_at_a_random_moment(process(folder), folder, awaited, pause if kills < KILLS else None):
                break
            kills += 1
        for name in FILES:
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (folder, name)
        # A kill after the SAE's last file may leave the checkpoint, but nothing half-written.
        assert set(files_beside_the_sae(folder)) <= {"state-0.safetensors", "checkpoint.safetensors"}


def files_beside_the_sae(folder: Path) -> list[str]:
    # A process killed right after the rename leaves its workplace, empty but for the lock, until the next such write.
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return [path.name for path in files if path.parent.name != "sae"]


def test_files_left_by_a_kill_while_saving_are_removed_by_the_next_run(planted, processes, tmp_path) -> None:
    for kill in (1, 2):  # 1: while writing the first checkpoint; 2: while writing the state, without checkpoints
        process = processes(target=killed.run_to_a_save, args=(tmp_path, planted.chunks, planted.settings, kill == 1))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert files_beside_the_sae(tmp_path)
    killed.run(tmp_path, planted.chunks, planted.settings, checkpoint_seconds=1000)
    assert files_beside_the_sae(tmp_path) == ["state-0.safetensors"]
    assert {path.name for path in tmp_path.iterdir()} == {"sae", "state-0.safetensors"}


@pytest.fixture
def interrupted(planted, one_chunk, tmp_path, interrupted_at):
    """Arguments of a job that was interrupted at step 50, with a checkpoint after every step before."""
    arguments = {
        "chunk": planted.chunks[0],
        "chunk_index": 0,
        "settings": one_chunk,
        "checkpoint": tmp_path / "checkpoint.safetensors",
        "checkpoint_seconds": 0.0,
        "progress": False,
    }

    with interrupted_at(50):
        train_chunk(**arguments)
    assert arguments["checkpoint"].exists()
    return arguments


def first_step_taken(arguments: dict, monkeypatch) -> int:
    """Run the job again. Returns the step that it starts with."""
    seen, add = [], History.add
    monkeypatch.setattr(History, "add", lambda self, step, *rest: (seen.append(step), add(self, step, *rest))[1])
    train_chunk(**arguments)
    return seen[0]


def test_a_checkpoint_of_the_same_job_is_resumed(interrupted, monkeypatch) -> None:
    assert first_step_taken(interrupted, monkeypatch) == 50


def test_a_checkpoint_of_other_settings_is_ignored(interrupted, monkeypatch) -> None:
    interrupted["settings"] = replace(interrupted["settings"], init_seed=7)
    assert first_step_taken(interrupted, monkeypatch) == 0


def test_a_checkpoint_of_other_activations_is_ignored(planted, interrupted, monkeypatch) -> None:
    interrupted["chunk"] = planted.chunks[1]
    assert first_step_taken(interrupted, monkeypatch) == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped byte", "not safetensors"])
def test_a_damaged_checkpoint_is_ignored_with_a_message(interrupted, monkeypatch, capsys, damage, tmp_path) -> None:
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
    assert "damaged checkpoint ignored" in capsys.readouterr().err
    train_chunk(**(interrupted | {"out": tmp_path / "whole", "checkpoint": None}))
    assert (tmp_path / "sae/sae.safetensors").read_bytes() == (tmp_path / "whole/sae.safetensors").read_bytes()


def test_a_damaged_state_between_chunks_is_an_error_that_names_the_file(planted, train, tmp_path) -> None:
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


@pytest.mark.parametrize(
    ("pause", "takes", "saved_after"),
    [
        (10.0, 0.0, [11, 22, 33, 44, 55, 66, 77, 88]),
        (10.0, 1.0, [11, 31, 51, 71, 91]),
        (10.0, 5.0, [11]),
        (1.0, 10.0, [2, 13, 24, 35, 46, 57, 68, 79, 90]),  # at most ten times `checkpoint_seconds`
        (0.0, 10.0, [*range(1, 97)]),
    ],
)
def test_writing_checkpoints_takes_at_most_a_twentieth_of_the_time(
    planted, one_chunk, tmp_path, monkeypatch, pause, takes, saved_after
) -> None:
    now, steps, saved = [0.0], [], []
    add = History.add

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    def a_second(*arguments):
        now[0] += 1
        steps.append(arguments)
        return add(*arguments)

    def slowly(*_):
        now[0] += takes
        saved.append(len(steps))

    monkeypatch.setattr(train, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(train, "write_state", slowly)
    monkeypatch.setattr(History, "add", a_second)
    checkpoint = {"checkpoint": tmp_path / "checkpoint.safetensors", "checkpoint_seconds": pause}
    train_chunk(chunk=planted.chunks[0], chunk_index=0, settings=one_chunk, progress=False, **checkpoint)
    assert saved == saved_after
