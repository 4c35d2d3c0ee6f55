"""Detect a diverging training, and name the row and shard of activations that may have caused it.

A loss that is not finite stops training at once, before weights or files change.

A *spike* is a batch whose FVU is above 1 (worse than predicting the mean) and above `SPIKE_FACTOR` times the usual FVU,
the exponential mean over earlier batches without spikes. The first batch sets the usual FVU, so early steps and warm-up
never count as spikes. One spike may come from the data: a few rows of huge norm, or a batch with hardly any variance.
Adam recovers from it, since the size of its step does not grow with the loss. So a spike is reported and counted, and
training goes on. After `PATIENCE` spikes in a row the training has diverged, or the data have changed, and it stops.

At the end, a message reports an L0 that the sparsity controller did not bring to its target.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.sae.training import resampling
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import Step

SPIKE_FACTOR = 3.0
PATIENCE = 100
DECAY = 0.99  # per step, of the exponential mean
MOST_REPORTED = 3  # per SAE and job
L0_TOLERANCE = 0.05  # relative; an L0 this close to its target counts as on target


class Spikes:
    """Count spikes from the FVU of one batch after another.

    `memory` (4,) float64 is the whole state: exponential sum of FVUs, exponential sum of their weights, current number
    of spikes in a row, total number of spikes.
    """

    def __init__(self) -> None:
        self.memory = np.zeros(4)

    def add(self, fvu: float) -> None:
        """Add the next batch's FVU."""
        if self.memory[1] and fvu > max(1.0, SPIKE_FACTOR * self.usual):
            self.memory[2:] += 1
        else:
            self.memory[:2] = self.memory[:2] * DECAY + (fvu * (1 - DECAY), 1 - DECAY)
            self.memory[2] = 0

    @property
    def usual(self) -> float:
        """Exponential mean of the FVU, over about the last 100 batches without spikes."""
        return float(self.memory[0] / self.memory[1])

    @property
    def in_a_row(self) -> int:
        """Number of spikes in a row, up to the last batch."""
        return int(self.memory[2])

    @property
    def count(self) -> int:
        """Total number of spikes."""
        return int(self.memory[3])


class Watch:
    """Checks the loss of every step of one SAE on one chunk."""

    def __init__(
        self, chunk: str | Path, chunk_index: int, settings: TrainSettings, training: Step, spikes: Spikes
    ) -> None:
        self.chunk, self.chunk_index, self.settings = Path(chunk), chunk_index, settings
        self.training, self.spikes, self.reported = training, spikes, 0

    def fault(self, chunk_step: int, fvu: float) -> str | None:
        """Error message if training must stop after step `chunk_step` (from 0), else None. Prints spikes."""
        if not np.isfinite(fvu):
            return f"{self.chunk}: loss is {fvu} at {self._where(chunk_step)}. Nothing was overwritten"
        self.spikes.add(fvu)
        if self.spikes.in_a_row == 1 and self.reported < MOST_REPORTED:
            self.reported += 1
            spike = f"loss is {fvu:.3g} (usually {self.spikes.usual:.3g}) at {self._where(chunk_step)}"
            if self._resampled(chunk_step):
                spike += " (or the cause is that dead latents were resampled just before)"
            seed = self.settings.init_seed
            print(f"{self.chunk}: init seed {seed}: {spike}. Training goes on", file=sys.stderr)
        if self.spikes.in_a_row < PATIENCE:
            return None
        divergence = f"loss is {fvu:.3g} (usually {self.spikes.usual:.3g}), and spiked for {PATIENCE} steps"
        first = max(0, chunk_step + 1 - PATIENCE)
        return f"{self.chunk}: {divergence}, the first being {self._where(first)}. Nothing was overwritten"

    def weights_fault(self, chunk_step: int) -> str | None:
        """Error message if the weights after step `chunk_step` are not finite, else None."""
        if all(torch.isfinite(value).all() for value in self.training.weights().values()):
            return None
        return f"{self.chunk}: weights are not finite after {self._where(chunk_step)}. Nothing was overwritten"

    def report_missed_target(self, l0: float) -> None:
        """Print a message if a controller steers L0 to `k`, but training ended with an `l0` off this target."""
        settings = self.settings
        missed = l0 / settings.k - 1
        if self.training.aims_at_l0 and abs(missed) > L0_TOLERANCE:
            print(
                f"init seed {settings.init_seed}: L0 is {l0:.3g} at the end, {missed:+.0%} off its target k = "
                f"{settings.k}. Train longer: this took {settings.total_steps} steps, most trainings need about 800",
                file=sys.stderr,
            )

    def _resampled(self, chunk_step: int) -> bool:
        settings = self.settings
        step = settings.steps_before(self.chunk_index) + chunk_step
        resamples = settings.architecture == "gated" and settings.control is None
        return resamples and resampling.just_resampled(step, settings.total_steps)

    def _where(self, chunk_step: int) -> str:
        step = self.settings.steps_before(self.chunk_index) + chunk_step
        return f"step {step} (step {chunk_step} of chunk {self.chunk_index}): {self._cause(chunk_step)}"

    def _cause(self, chunk_step: int) -> str:
        """The row of the step's batch that is the likely cause, weights that are not finite, and what to do."""
        rows = []  # norm, row, shard
        for shard, numbers, activations in reader.rows_of_batch(
            self.chunk,
            batch_size=self.settings.batch_size,
            rows=min(self.settings.chunk_rows(self.chunk_index), reader.Chunk(self.chunk).rows),
            order_seed=self.settings.order_seed,
            number=chunk_step,
        ):
            bad = torch.nonzero(~torch.isfinite(activations).all(dim=1))[:, 0]
            if len(bad):
                return f"row {numbers[bad[0]]} of {shard} holds NaN or infinity; delete {self.chunk} and run again"
            norms = activations.double().norm(dim=1).tolist()
            rows += [(norm, number, shard) for norm, number in zip(norms, numbers, strict=True)]
        norm, number, shard = max(rows)
        median = np.median([norm for norm, _, _ in rows])
        largest = f"row {number} of {shard} has the batch's largest norm, {norm:.3g} (median {median:.3g})"
        for name, value in self.training.weights().items():
            if not torch.isfinite(value).all():
                # A step's loss belongs to the weights before its update.
                return f"{name} holds NaN or infinity; {largest}; check it and the batch before, or lower learning_rate"
        return f"{largest}; check it, look for a batch of equal rows, or lower learning_rate"
