"""Where and how strongly each latent of an SAE fires, sorted by latent, on the disk.

SAEs give their firings row by row, and every statistic wants them latent by latent. They are sorted through files, a
group of latents at a time, so memory holds neither rows x latents nor all firings.
"""

from pathlib import Path

import numpy as np

from sae_stability.files import named

_ENTRY = np.dtype([("latent", np.int32), ("row", np.int32), ("value", np.float32)])
GROUP = 1024  # latents sorted at once; at most 65,536, so that numpy sorts them by radix
_WAITING = 1 << 20  # firings held before they are written to the files of their groups


class Firings:
    """The firings of an SAE: `firings[latent]` gives (rows ascending int32, activations float32).

    Attributes:
        n_latents: number of latents.
        counts: how often each latent fired, (n_latents,) int64.
    """

    def __init__(self, offsets: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        """Latent i has the entries offsets[i] : offsets[i + 1] of `rows` and `values`."""
        self._offsets, self._rows, self._values = offsets, rows, values
        self.counts = np.diff(offsets)
        self.n_latents = len(self.counts)

    def __getitem__(self, latent: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(self._offsets[latent], self._offsets[latent + 1])
        return np.asarray(self._rows[part]), np.asarray(self._values[part])


class FiringSorter:
    """Takes firings row by row and gives them latent by latent.

    Memory: about a million firings, and while sorting those of `GROUP` latents. Disk: 12 bytes a firing while rows come
    in, 8 in the end.

    Args:
        folder: an empty folder for its files; they must stay while the `Firings` are in use.
        n_latents: number of latents.
    """

    def __init__(self, folder: Path, n_latents: int) -> None:
        self._folder, self._n_latents = Path(folder), n_latents
        self._folder.mkdir(parents=True)
        self._waiting: list[np.ndarray] = []
        self._count = 0

    def add(self, rows: np.ndarray, latents: np.ndarray, values: np.ndarray) -> None:
        """Add firings. Rows must ascend from call to call and within a call; the number of rows is below 2^31."""
        entries = np.empty(len(rows), _ENTRY)
        entries["latent"], entries["row"], entries["value"] = latents, rows, values
        self._waiting.append(entries)
        self._count += len(entries)
        if self._count >= _WAITING:
            self._write()

    def finish(self) -> Firings:
        """Sort what was added."""
        self._write()
        counts = np.zeros(self._n_latents, np.int64)
        with (
            named(self._folder),
            open(self._folder / "rows", "wb") as rows,
            open(self._folder / "values", "wb") as values,
        ):
            for group, first in enumerate(range(0, self._n_latents, GROUP)):
                file = self._group(group)
                entries = np.fromfile(file, _ENTRY) if file.exists() else np.empty(0, _ENTRY)
                file.unlink(missing_ok=True)
                latent = (entries["latent"] - first).astype(np.uint16)
                # Rows came in ascending, and a stable sort keeps them so within a latent.
                entries = entries[np.argsort(latent, kind="stable")]
                size = min(GROUP, self._n_latents - first)
                counts[first : first + size] = np.bincount(latent, minlength=size)
                entries["row"].tofile(rows)
                entries["value"].tofile(values)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return Firings(offsets, self._mapped("rows", np.int32), self._mapped("values", np.float32))

    def _write(self) -> None:
        """Append the waiting firings to the files of their groups."""
        if not self._count:
            return
        entries = np.concatenate(self._waiting)
        group = (entries["latent"] // GROUP).astype(np.uint16)
        entries = entries[np.argsort(group, kind="stable")]
        sizes = np.bincount(group)
        for number, part in enumerate(np.split(entries, np.cumsum(sizes)[:-1])):
            if len(part):
                with named(self._folder), open(self._group(number), "ab") as file:
                    part.tofile(file)
        self._waiting, self._count = [], 0

    def _group(self, number: int) -> Path:
        return self._folder / f"group-{number:05d}"

    def _mapped(self, name: str, dtype: type) -> np.ndarray:
        file = self._folder / name
        # An empty file cannot be mapped.
        return np.memmap(file, dtype, "r") if file.stat().st_size else np.empty(0, dtype)
