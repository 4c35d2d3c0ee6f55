"""Detect when a training's loss goes wrong, and say which row of which shard to look at.

A loss that is not finite stops a training at once, before weights or files change.

A *spike* is a batch with an FVU above 1 (worse than predicting the mean) and above `TIMES` the usual FVU. The usual FVU
is the exponential mean over earlier batches that were no spikes. A single spike may come from the data (a few rows of
enormous norm, or a batch of hardly any variance), and Adam, whose step does not grow with the loss, recovers: the spike
is reported and counted, and training goes on. `PATIENCE` spikes in a row mean that the training has diverged or that
the data have changed: it stops. The first batch sets the usual FVU, so early steps and warm-up never count as spikes.

At the end, a message says so if a controller of sparsity did not bring L0 to its target.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from sae_stability.activations import reader
from sae_stability.sae.training import resampling
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import Step

TIMES = 3.0
PATIENCE = 100
KEEP = 0.99  # of the exponential mean, a step
REPORTED = 3  # spikes that a job reports, for each SAE
NEAR = 0.05  # an L0 within this fraction of its target counts as on target


class Spikes:
    """Counts spikes, from the FVU of every batch in turn.

    `memory` (4,) float64 is all its state: the exponential sum of FVUs, that of their weights, spikes in a row up to
    now, spikes in all.
    """

    def __init__(self) -> None:
        self.memory = np.zeros(4)

    def add(self, fvu: float) -> None:
        """Note the next batch's FVU."""
        if self.memory[1] and fvu > max(1.0, TIMES * self.usual):
            self.memory[2:] += 1
        else:
            self.memory[:2] = self.memory[:2] * KEEP + (fvu * (1 - KEEP), 1 - KEEP)
            self.memory[2] = 0

    @property
    def usual(self) -> float:
        """Mean FVU of about the last 100 batches that were no spikes."""
        return float(self.memory[0] / self.memory[1])

    @property
    def in_a_row(self) -> int:
        """How many batches up to the last one were spikes."""
        return int(self.memory[2])

    @property
    def count(self) -> int:
        """How many batches were."""
        return int(self.memory[3])


class Watch:
    """Looks at the loss of every step of one SAE on one chunk."""

    def __init__(
        self, chunk: str | Path, chunk_index: int, settings: TrainSettings, training: Step, spikes: Spikes
    ) -> None:
        self.chunk, self.chunk_index, self.settings = Path(chunk), chunk_index, settings
        self.training, self.spikes, self.reported = training, spikes, 0

    def fault(self, chunk_step: int, fvu: float) -> str | None:
        """Why training cannot go on after step `chunk_step` of the chunk (from 0), or None; reports a spike."""
        if not np.isfinite(fvu):
            return f"{self.chunk}: loss is {fvu} at {self._where(chunk_step)}. Nothing was overwritten"
        self.spikes.add(fvu)
        if self.spikes.in_a_row == 1 and self.reported < REPORTED:
            self.reported += 1
            spike = f"loss is {fvu:.3g}, after {self.spikes.usual:.3g}, at {self._where(chunk_step)}"
            if self._resampled(chunk_step):
                spike += " (or it is that dead latents were resampled just before)"
            seed = self.settings.init_seed
            print(f"{self.chunk}: init seed {seed}: {spike}. Training goes on", file=sys.stderr)
        if self.spikes.in_a_row < PATIENCE:
            return None
        what = f"loss is {fvu:.3g}, after {self.spikes.usual:.3g}, for {PATIENCE} steps"
        first = max(0, chunk_step + 1 - PATIENCE)
        return f"{self.chunk}: {what}, the first being {self._where(first)}. Nothing was overwritten"

    def weights_fault(self, chunk_step: int) -> str | None:
        """Why training cannot go on with the weights that step `chunk_step` left, or None."""
        if all(torch.isfinite(value).all() for value in self.training.weights().values()):
            return None
        return f"{self.chunk}: weights went wrong by {self._where(chunk_step)}. Nothing was overwritten"

    def tell_missed_target(self, l0: float) -> None:
        """Say so where a controller was to bring L0 to `k`, and training has ended with another `l0`."""
        settings = self.settings
        missed = l0 / settings.k - 1
        if self.training.aims_at_l0 and abs(missed) > NEAR:
            print(
                f"init seed {settings.init_seed}: L0 is {l0:.3g} at the end, {missed:+.0%} off its target k = "
                f"{settings.k}. Train longer: it takes some 800 steps as a rule, and this took {settings.total_steps}",
                file=sys.stderr,
            )

    def _resampled(self, chunk_step: int) -> bool:
        settings = self.settings
        step = settings.steps_before(self.chunk_index) + chunk_step
        return settings.architecture == "gated" and resampling.recent(step, settings.total_steps)

    def _where(self, chunk_step: int) -> str:
        step = self.settings.steps_before(self.chunk_index) + chunk_step
        return f"step {step} (step {chunk_step} of chunk {self.chunk_index}): {self._cause(chunk_step)}"

    def _cause(self, chunk_step: int) -> str:
        """The row of the step's batch that it may come from, the weights that are not finite, and what to do."""
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
                # The loss of a step is that of the weights before its update.
                return f"{name} holds NaN or infinity; {largest}; look there and one batch back, or lower learning_rate"
        return f"{largest}; look there and for rows that are all alike, or lower learning_rate"
