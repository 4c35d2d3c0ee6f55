"""TensorBoard event files of a training job."""

from pathlib import Path

from sae_stability.sae.training.history import COLUMNS


class EventFiles:
    """TensorBoard event files of one job in `folder`; writes nothing if `folder` is None."""

    def __init__(self, folder: Path | None) -> None:
        self.writer = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder))

    def add(self, row: list[float]) -> None:
        """Write one row of the history."""
        if self.writer:
            for name, value in zip(COLUMNS[2:], row[2:], strict=True):
                self.writer.add_scalar(name, value, int(row[0]))

    def close(self) -> None:
        """Flush and close."""
        if self.writer:
            self.writer.close()
