"""What a training records while it runs: a table of metrics, spikes, a digest of the batches that it read."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from sae_stability.sae.training.divergence import Spikes
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import StepResult

COLUMNS = ("step", "tokens", "fvu", "auxk", "l0", "dead_fraction", "learning_rate")
TABLE_ROWS = 400  # approximate number of rows in the history of a training
STEPS_PER_TRANSFER = 16  # results that wait on a device before one transfer


class History:
    """Metrics during training (one row for every `every` steps, holding their means), a digest of the batches, spikes.

    It is saved with the training state, so a resumed training writes the same table. It contains no clock times.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.every = max(1, settings.total_steps // TABLE_ROWS)
        self.rows: list[list[float]] = []
        self.sums = np.zeros(4)  # steps, fvu, auxk, l0
        self.digest = bytes(32)
        self.spikes = Spikes()

    def add(self, step: int, batch: torch.Tensor, result: StepResult) -> bool:
        """Record step `step` (from 0). Returns whether this completed a row."""
        # Rows are shuffled, so two of them identify a batch. Hashing all would cost a tenth of a small step's time.
        ends = batch[:: max(1, len(batch) - 1)].numpy(force=True).tobytes()
        self.digest = hashlib.sha256(self.digest + ends).digest()
        self.sums += (1, result.fvu, result.auxk, result.l0)
        done = step + 1
        if done % self.every and done != self.settings.total_steps:
            return False
        fvu, auxk, l0 = (self.sums[1:] / self.sums[0]).tolist()
        dead = result.dead / self.settings.n_latents
        self.rows.append([done, done * self.settings.batch_size, fvu, auxk, l0, dead, self.settings.rate(step)])
        self.sums[:] = 0
        return True

    def last_l0(self) -> float:
        """Mean L0 over the last tenth of the table's rows."""
        last = self.rows[-max(1, len(self.rows) // 10) :]
        return float(np.mean([row[COLUMNS.index("l0")] for row in last]))

    def table(self):
        """The history as a DataFrame with the columns `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=COLUMNS).astype({"step": "int64", "tokens": "int64"})

    def state(self) -> dict[str, torch.Tensor]:
        """The whole state, as tensors."""
        rows = torch.tensor(self.rows, dtype=torch.float64).reshape(-1, len(COLUMNS))
        digest = torch.frombuffer(bytearray(self.digest), dtype=torch.uint8).clone()
        sums, spikes = (torch.from_numpy(values.copy()) for values in (self.sums, self.spikes.memory))
        return {"rows": rows, "sums": sums, "digest": digest, "spikes": spikes}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        self.rows = state["rows"].tolist()
        self.sums = state["sums"].numpy().copy()
        self.digest = state["digest"].numpy().tobytes()
        self.spikes.memory[:] = state["spikes"].numpy()


class PendingSteps:
    """Steps whose results have not been read yet, because reading them would wait for the device."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, torch.Tensor, StepResult]] = []

    def add(self, step: int, batch: torch.Tensor, result: StepResult) -> None:
        """Add a step's result, and the two rows of its batch that `History` hashes."""
        self.steps.append((step, batch[:: max(1, len(batch) - 1)].clone(), result))

    def collect(self, now: bool) -> Iterator[tuple[int, torch.Tensor, StepResult]]:
        """Yield (step, first and last row of its batch, result as numbers) of all pending steps, in order.

        If results are tensors on a device, yields nothing until there are STEPS_PER_TRANSFER of them, unless `now`.
        """
        steps = self.steps
        on_device = bool(steps) and isinstance(steps[0][2].fvu, torch.Tensor)
        if on_device and not now and len(steps) < STEPS_PER_TRANSFER:
            return
        self.steps = []
        if on_device:
            values = torch.stack([torch.stack([v.double() for v in result]) for _, _, result in steps]).tolist()
            # One transfer for all steps.
            all_ends = torch.stack([ends for _, ends, _ in steps]).cpu()
        else:
            values, all_ends = ([item[part] for item in steps] for part in (2, 1))
        for (step, _, _), ends, (fvu, auxk, l0, dead) in zip(steps, all_ends, values, strict=True):
            yield step, ends, StepResult(fvu, auxk, l0, int(dead))
