"""A diverging loss is reported with step, shard and row, and overwrites nothing."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.sae.training.divergence import PATIENCE, Spikes, Watch
from sae_stability.sae.training.steps.topk_cpu import CpuTopKStep
from sae_stability.sae.training.train import train_chunk
from tests.sae.training.chunks import planted_rows, write_chunk


def step_that_reads(chunk: Path, wanted) -> int:
    """The first step whose batch satisfies `wanted`."""
    batches = reader.batches(chunk, batch_size=128, order_seed=0)
    return next(step for step, batch in enumerate(batches) if wanted(batch))


def train(planted, chunk: Path, folder: Path, **change) -> None:
    rows = reader.Chunk(chunk).rows
    train_chunk(
        chunk=chunk,
        chunk_index=0,
        settings=replace(planted.settings, tokens=rows, chunk_tokens=rows, epochs=1, **change),
        first_chunk_manifest=planted.chunks[0] / "manifest.json",
        out=folder / "sae",
        checkpoint=folder / "checkpoint.safetensors",
        checkpoint_seconds=0,
        progress=False,
    )


@pytest.mark.parametrize("architecture", ["topk", "jumprelu"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.nan, "holds NaN or infinity; delete .*chunk-0000 and run again"),
        (-np.inf, "holds NaN or infinity; delete .*chunk-0000 and run again"),
        (1e25, r"has the batch's largest norm, 1e\+25 .median [1-3]"),  # finite, but its square is not
    ],
)
def test_a_bad_row_is_named_and_nothing_is_overwritten(planted, tmp_path, architecture, value, found) -> None:
    rows = planted_rows(planted.dictionary, 1024, active=3, seed=0)
    rows[700, 5] = value
    chunk = write_chunk(tmp_path / "chunk-0000", rows, shards=2)
    step = step_that_reads(chunk, lambda batch: not (batch.abs() < 1e9).all())
    message = rf"chunk-0000: loss is (nan|inf) at step {step} .*: row 188 of shard-0001.safetensors {found}"
    with pytest.raises(StudyError, match=message):
        train(planted, chunk, tmp_path, architecture=architecture)
    assert not (tmp_path / "sae").exists()
    if step:  # so there is a checkpoint of the step before
        before = (tmp_path / "checkpoint.safetensors").read_bytes()
        with pytest.raises(StudyError, match=message):
            train(planted, chunk, tmp_path, architecture=architecture)
        assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def with_flat_rows(planted, folder: Path, flat: int) -> tuple[Path, int]:
    """A chunk with a shard of 2,560 ordinary rows, read first, and a shard of `flat` rows that hardly vary.

    Returns the chunk, and the first step whose batch has only flat rows.
    """
    rows = planted_rows(planted.dictionary, 2560 + flat, active=3, seed=0)
    rows[:flat] = rows.mean(axis=0) + 1e-4 * rows[:flat]
    chunk = write_chunk(folder / "chunk-0000", rows, sizes=[flat, 2560])
    return chunk, step_that_reads(chunk, lambda batch: batch.std(dim=0).max() < 1e-3)


def test_a_spike_is_reported_and_counted_and_training_goes_on(planted, tmp_path, capsys) -> None:
    chunk, step = with_flat_rows(planted, tmp_path, flat=256)
    assert step == 20
    train(planted, chunk, tmp_path)
    assert read_json(tmp_path / "sae/metrics.json")["spikes"] == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "chunk-0000: init seed 0: loss is" in line
    assert "resampled" not in line
    assert f"at step {step} (step {step} of chunk 0): row " in line
    assert "of shard-0000.safetensors has the batch's largest norm" in line


def test_a_training_resumed_after_a_spike_ends_as_the_uninterrupted_one(
    planted, tmp_path, interrupted_at, capsys
) -> None:
    chunk, step = with_flat_rows(planted, tmp_path, flat=256)
    train(planted, chunk, tmp_path / "whole")
    (message,) = capsys.readouterr().err.splitlines()
    with interrupted_at(step + 1):
        train(planted, chunk, tmp_path)
    assert capsys.readouterr().err.splitlines() == [message]
    train(planted, chunk, tmp_path)
    assert not capsys.readouterr().err  # the next step continues the last spike, so it is not reported again
    assert read_json(tmp_path / "sae/metrics.json")["spikes"] == 2
    for name in ("sae.safetensors", "metrics.json", "history.parquet"):
        assert (tmp_path / "sae" / name).read_bytes() == (tmp_path / "whole/sae" / name).read_bytes()


def test_a_diverged_training_stops_and_names_the_first_spike(planted, tmp_path) -> None:
    chunk, step = with_flat_rows(planted, tmp_path, flat=128 * (PATIENCE + 5))
    assert step == 20
    message = f"for {PATIENCE} steps, the first being step 20 .*: row .* of shard-0000.safetensors.*Nothing was over"
    with pytest.raises(StudyError, match=message):
        train(planted, chunk, tmp_path)
    assert not (tmp_path / "sae").exists()


def test_weights_that_are_not_finite_are_reported_with_step_shard_and_row(planted, tmp_path, monkeypatch) -> None:
    """They become NaN in the last step, whose loss still belongs to the weights before."""
    chunk = write_chunk(tmp_path / "chunk-0000", planted_rows(planted.dictionary, 1024, active=3, seed=0), shards=2)
    step = CpuTopKStep.step

    def poisoned(self, batch, rate):
        result = step(self, batch, rate)
        if self.steps == 8:
            self.parameters["encoder"][3, 2] = np.nan
        return result

    monkeypatch.setattr(CpuTopKStep, "step", poisoned)
    where = r"step 7 \(step 7 of chunk 0\): encoder holds NaN or infinity; row \d+ of shard-000\d.safetensors has the"
    with pytest.raises(StudyError, match=f"chunk-0000: weights are not finite after {where}.*Nothing was overwritten"):
        train(planted, chunk, tmp_path)
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize(
    ("architecture", "step", "mentioned"), [("gated", 24, True), ("gated", 40, False), ("topk", 24, False)]
)
def test_a_spike_just_after_resampling_mentions_it(planted, capsys, architecture, step, mentioned) -> None:
    settings = replace(planted.settings, architecture=architecture)  # 192 steps: resampled after 24, 48, 72, 96
    weights = SimpleNamespace(weights=lambda: {"encoder": torch.zeros(1)})
    watch = Watch(planted.chunks[0], 0, settings, weights, Spikes())
    for fvu in (0.1, 5.0):
        assert watch.fault(step, fvu) is None
    assert ("dead latents were resampled just before" in capsys.readouterr().err) == mentioned


def test_a_spike_is_above_one_and_three_times_the_usual_fvu() -> None:
    spikes = Spikes()
    for fvu in (1.4, 4.0, 0.9, 0.2, 0.2):  # 4.0 is below 3 * 1.4
        spikes.add(fvu)
    assert spikes.count == 0
    usual = spikes.usual
    assert usual == pytest.approx(np.mean([1.4, 4.0, 0.9, 0.2, 0.2]), rel=0.05)
    for _ in range(3):
        spikes.add(3.1 * usual)
    assert (spikes.in_a_row, spikes.count, spikes.usual) == (3, 3, usual)
    for _ in range(2000):
        spikes.add(0.1)
    spikes.add(0.99)  # far above the usual FVU, but better than predicting the mean
    assert (spikes.in_a_row, spikes.count) == (0, 3)
