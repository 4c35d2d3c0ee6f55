"""What a training reports while it runs: metrics history, progress bar, TensorBoard, a digest of what it read."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from sae_stability.sae.training.divergence import Spikes
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.steps.protocol import StepResult

COLUMNS = ("step", "tokens", "fvu", "auxk", "l0", "dead_fraction", "learning_rate")
POINTS = 400  # rows of a whole training's history, about
LOOK_EVERY = 16  # steps whose results may be on their way from a device


class History:
    """Metrics along training, a row every `every` steps: means since the row before; a digest of the batches; spikes.

    It travels with the training state, so a resumed training writes the same table. No clock time is in it.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.every = max(1, settings.total_steps // POINTS)
        self.rows: list[list[float]] = []
        self.sums = np.zeros(4)  # steps, fvu, auxk, l0
        self.digest = bytes(32)
        self.spikes = Spikes()

    def add(self, step: int, batch: torch.Tensor, result: StepResult) -> bool:
        """Note step `step` (from 0); whether this made a new row."""
        # Two rows tell batches apart: they are shuffled, and hashing all of them would cost a tenth of a small step.
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
        """L0 over the last tenth of the rows."""
        last = self.rows[-max(1, len(self.rows) // 10) :]
        return float(np.mean([row[COLUMNS.index("l0")] for row in last]))

    def table(self):
        """The history as a DataFrame with `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=COLUMNS).astype({"step": "int64", "tokens": "int64"})

    def state(self) -> dict[str, torch.Tensor]:
        """Everything above, as tensors."""
        rows = torch.tensor(self.rows, dtype=torch.float64).reshape(-1, len(COLUMNS))
        digest = torch.frombuffer(bytearray(self.digest), dtype=torch.uint8).clone()
        sums, spikes = (torch.from_numpy(values.copy()) for values in (self.sums, self.spikes.memory))
        return {"rows": rows, "sums": sums, "digest": digest, "spikes": spikes}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` returned."""
        self.rows = state["rows"].tolist()
        self.sums = state["sums"].numpy().copy()
        self.digest = state["digest"].numpy().tobytes()
        self.spikes.memory[:] = state["spikes"].numpy()


class Waiting:
    """Steps whose results nobody has looked at yet, because that would wait for the device that computes them."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, torch.Tensor, StepResult]] = []

    def add(self, step: int, batch: torch.Tensor, result: StepResult) -> None:
        """Note what step `step` did to `batch`, of which only the two rows that `History` looks at are kept."""
        self.steps.append((step, batch[:: max(1, len(batch) - 1)].clone(), result))

    def take(self, now: bool) -> Iterator[tuple[int, torch.Tensor, StepResult]]:
        """(step, first and last row of its batch, result in numbers) in order: all that wait, or none yet.

        Numbers never wait; 0-d tensors do until there are LOOK_EVERY, or `now`.
        """
        steps = self.steps
        on_device = bool(steps) and isinstance(steps[0][2].fvu, torch.Tensor)
        if on_device and not now and len(steps) < LOOK_EVERY:
            return
        self.steps = []
        if on_device:
            values = torch.stack([torch.stack([v.double() for v in result]) for _, _, result in steps]).tolist()
            # One transfer for all.
            read = torch.stack([ends for _, ends, _ in steps]).cpu()
        else:
            values, read = ([item[part] for item in steps] for part in (2, 1))
        for (step, _, _), ends, (fvu, auxk, l0, dead) in zip(steps, read, values, strict=True):
            yield step, ends, StepResult(fvu, auxk, l0, int(dead))
