"""Several SAEs trained together: each gets the same bytes as alone, whatever happens to the others."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability import cli
from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.sae.training.job import SaeJob
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.train import train_block, train_chunk

FILES = ("sae.safetensors", "cfg.json", "metrics.json", "history.parquet")


@pytest.fixture
def settings(planted) -> TrainSettings:
    return replace(planted.settings, epochs=1, tokens=2 * 4096)


def jobs(settings: TrainSettings, folder: Path, seeds, chunk: int = 0) -> list[SaeJob]:
    """Jobs for SAEs of these seeds, with all their files in `folder`."""
    last = chunk == settings.n_chunks - 1
    return [
        SaeJob(
            settings=replace(settings, init_seed=seed),
            previous=folder / f"{seed}-{chunk - 1}.safetensors" if chunk else None,
            state_out=None if last else folder / f"{seed}-{chunk}.safetensors",
            out=folder / str(seed) if last else None,
            checkpoint=folder / f"{seed}-checkpoint.safetensors",
        )
        for seed in seeds
    ]


def block(planted, settings: TrainSettings, folder: Path, seeds, chunk: int = 0, **options) -> None:
    """Train on one chunk."""
    train_block(
        jobs(settings, folder, seeds, chunk),
        chunk=planted.chunks[chunk],
        chunk_index=chunk,
        first_chunk_manifest=planted.chunks[0] / "manifest.json",
        progress=False,
        **options,
    )


def both_chunks(planted, settings: TrainSettings, folder: Path, seeds, **options) -> dict[str, bytes]:
    for chunk in range(2):
        block(planted, settings, folder, seeds, chunk, **options)
    return written(folder, seeds)


def written(folder: Path, seeds) -> dict[str, bytes]:
    """Contents of all files of the finished SAEs, except the timing."""
    return {f"{seed}/{name}": (folder / str(seed) / name).read_bytes() for seed in seeds for name in FILES}


@pytest.fixture
def alone(planted, settings, tmp_path):
    """Train each seed in a job of its own."""

    def run(seeds, settings=settings) -> dict[str, bytes]:
        found = {}
        for seed in seeds:
            found |= both_chunks(planted, settings, tmp_path / "alone", [seed])
        return found

    return run


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_sae_of_a_block_has_the_same_bytes_as_alone(planted, settings, tmp_path, alone, threads) -> None:
    seeds = [0, 3, 1]
    assert both_chunks(planted, settings, tmp_path / "together", seeds, threads=threads) == alone(seeds)
    assert not list((tmp_path / "together").glob("*checkpoint*"))


@pytest.mark.parametrize("change", [{"auxk_alpha": 0.5, "dead_tokens": 500}, {"architecture": "gated"}])
def test_each_sae_of_a_block_has_the_same_bytes_as_alone_with_auxk_and_gated(
    planted, settings, tmp_path, alone, change
) -> None:
    settings = replace(settings, **change)
    assert both_chunks(planted, settings, tmp_path / "together", [0, 1], threads=2) == alone([0, 1], settings)


def test_each_shard_is_read_once_for_all_saes(planted, settings, tmp_path, monkeypatch) -> None:
    read, shard = [], reader.Chunk.shard
    monkeypatch.setattr(reader.Chunk, "shard", lambda self, number: (read.append(number), shard(self, number))[1])
    counts = []
    for seeds in ([0], [0, 1, 2]):
        block(planted, settings, tmp_path / str(len(seeds)), seeds)
        counts.append(sorted(read))
        read.clear()
    assert counts[0] == counts[1]
    assert set(counts[0]) == {0, 1, 2}


JOB = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from types import SimpleNamespace
from sae_stability.sae.training.settings import TrainSettings
from tests.sae.training.test_block import block
chunks, settings, folder, seeds = json.loads(sys.argv[2])
planted = SimpleNamespace(chunks=[Path(chunk) for chunk in chunks])
block(planted, TrainSettings(**settings), Path(folder), seeds, checkpoint_seconds=0.05, threads=2)
"""


def test_a_block_killed_at_random_moments_ends_with_the_same_bytes(planted, settings, tmp_path) -> None:
    settings, seeds = replace(settings, epochs=20, tokens=4096 * 20), [0, 1, 2]
    block(planted, settings, tmp_path / "whole", seeds)
    root, folder = Path(__file__).parents[3], tmp_path / "killed"
    folder.mkdir()
    paths = json.dumps([str(root), str(root / "workflow")])
    arguments = json.dumps([list(map(str, planted.chunks)), asdict(settings), str(folder), seeds])
    pauses, kills = random.Random(1), 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", JOB, paths, arguments])
        before = times(folder)
        while process.poll() is None and times(folder) == before:
            time.sleep(0.001)
        # Some of these kills fall between the checkpoints of two SAEs.
        time.sleep(pauses.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1
    assert subprocess.run([sys.executable, "-c", JOB, paths, arguments], check=False).returncode == 0
    assert written(folder, seeds) == written(tmp_path / "whole", seeds)
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "2"]


def times(folder: Path) -> list[int]:
    return sorted(path.stat().st_mtime_ns for path in folder.glob("?-checkpoint.safetensors"))


def test_saes_resume_from_checkpoints_of_different_steps_in_another_block(
    planted, settings, tmp_path, alone, interrupted_at
) -> None:
    """Seed 0 stops after 20 steps, seed 1 after 10, seed 2 has not begun; then they are trained together."""
    expected = alone([0, 1, 2])
    folder = tmp_path / "together"
    for seed, steps in ((0, 20), (1, 10)):
        with interrupted_at(steps):
            block(planted, settings, folder, [seed], checkpoint_seconds=0.0)
    assert both_chunks(planted, settings, folder, [2, 1, 0], threads=2) == expected


def spoil(state: Path, settings: TrainSettings, planted) -> None:
    """Make one weight of a state NaN."""
    from sae_stability.sae.training.history import History
    from sae_stability.sae.training.initial_weights import initial_weights
    from sae_stability.sae.training.normalisation import Normalisation
    from sae_stability.sae.training.state import load_state, write_state
    from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
    from sae_stability.sae.training.workers import Workers

    weights = initial_weights(settings.n_latents, 24, 0, "here") | {"decoder_bias": np.zeros(24, np.float32)}
    training = CpuTopKStep(weights, settings, Normalisation(np.zeros(24, np.float32), 1.0), Workers(1))
    history = History(settings)
    about = load_state(state, training, history)
    training.parameters["decoder_bias"][3] = np.nan
    write_state(state, training, history, {key: about[key] for key in ("settings", "chunk")})


def test_one_sae_that_diverges_stops_the_job_and_the_others_resume(planted, settings, tmp_path, alone) -> None:
    expected = alone([0, 2])
    folder = tmp_path / "together"
    block(planted, settings, folder, [0, 1, 2])
    spoil(folder / "1-0.safetensors", replace(settings, init_seed=1), planted)
    with pytest.raises(StudyError, match=r"init seed 1: .*chunk-0001: loss is nan.*the other SAEs can resume"):
        block(planted, settings, folder, [0, 1, 2], 1)
    assert not any((folder / str(seed)).exists() for seed in (0, 1, 2))
    assert {path.name[0] for path in folder.glob("?-checkpoint.safetensors")} == {"0", "2"}
    block(planted, settings, folder, [0, 2], 1)
    assert written(folder, [0, 2]) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order_seed": 1}, "must differ only in init_seed; these differ in order_seed"),
        ({"k": 2, "learning_rate": 1e-2}, "these differ in k, learning_rate"),
        ({"init_seed": 0}, "the init_seed 0 is given for two"),
    ],
)
def test_only_seeds_may_differ(planted, settings, tmp_path, change, message) -> None:
    first, second = jobs(settings, tmp_path, [0, 1])
    second = replace(second, settings=replace(second.settings, **change))
    with pytest.raises(StudyError, match=message):
        train_block([first, second], chunk=planted.chunks[0], chunk_index=0)


def test_two_saes_cannot_write_to_the_same_path(planted, settings, tmp_path) -> None:
    first, second = jobs(settings, tmp_path, [0, 1])
    with pytest.raises(StudyError, match=r"the path .*0-0.safetensors is given for two"):
        train_block([first, replace(second, state_out=first.state_out)], chunk=planted.chunks[0], chunk_index=0)


def command(settings: TrainSettings, planted) -> list[str]:
    """The command `train` with these settings."""
    options = [("chunk", planted.chunks[0]), *asdict(settings).items()]
    options = [(name, value) for name, value in options if value is not None and name != "init_seed"]
    return ["train", *(str(word) for name, value in options for word in (f"--{name.replace('_', '-')}", value))]


def test_the_command_trains_one_sae_or_several(planted, one_chunk, tmp_path, capsys) -> None:
    words = command(one_chunk, planted)
    assert cli.main([*words, "--out", str(tmp_path / "one")]) == 0
    several = [word for seed in (4, 0) for word in ("--init-seed", str(seed), "--out", str(tmp_path / str(seed)))]
    assert cli.main([*words, *several]) == 0
    chunk = {"chunk": planted.chunks[0], "chunk_index": 0}
    train_chunk(**chunk, settings=replace(one_chunk, init_seed=4), out=tmp_path / "four", progress=False)
    for a, b in (("one", "0"), ("four", "4")):
        assert (tmp_path / a / "sae.safetensors").read_bytes() == (tmp_path / b / "sae.safetensors").read_bytes()
    capsys.readouterr()
    assert cli.main([*words, *several, "--config-hash", "x"]) == 2
    assert "--config-hash is given 1 times for 2 SAEs" in capsys.readouterr().err


@pytest.mark.parametrize("batch_size", [2, 8])
def test_results_on_a_device_give_the_same_history_as_numbers(batch_size):
    from sae_stability.sae.training.history import STEPS_PER_TRANSFER, History, PendingSteps
    from sae_stability.sae.training.steps.protocol import StepResult

    settings = TrainSettings(n_latents=16, k=2, tokens=batch_size * 40, chunk_tokens=8 * 40, batch_size=batch_size)
    random = torch.Generator().manual_seed(0)
    batches = torch.randn(40, batch_size, 3, generator=random)
    results = torch.rand(40, 4, generator=random, dtype=torch.float64)
    results[:, 3] = torch.arange(40)
    histories = History(settings), History(settings)
    numbers, tensors = PendingSteps(), PendingSteps()
    for step in range(40):
        numbers.add(step, batches[step], StepResult(*results[step].tolist()))
        tensors.add(step, batches[step], StepResult(*results[step]))
        for history, pending in zip(histories, (numbers, tensors), strict=True):
            taken = list(pending.collect(now=step == 39))
            assert pending is numbers or len(taken) in (0, STEPS_PER_TRANSFER, 40 % STEPS_PER_TRANSFER)
            for number, ends, result in taken:
                history.add(number, ends, result)
    plain, from_device = (history.state() for history in histories)
    for name, value in plain.items():
        assert torch.equal(from_device[name], value), name
