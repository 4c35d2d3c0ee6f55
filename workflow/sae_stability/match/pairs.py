"""Two dictionaries in, one match file out: a row a latent, encoder and decoder matched separately."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from sae_stability.arguments import check_one_each
from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.match.assignment import Assignment, match_rows
from sae_stability.match.limits import KEPT_BYTES
from sae_stability.match.rows import Dictionary, prepare
from sae_stability.match.summary_line import in_words
from sae_stability.sae import formats
from sae_stability.sae.checkpoint_files import checkpoint_files
from sae_stability.sae.formats import own

SIDES = ("encoder", "decoder")


def match_pairs(
    *,
    a: Sequence[Path],
    b: Sequence[Path],
    out: Sequence[Path],
    latents_a: Sequence[Path] = (),
    latents_b: Sequence[Path] = (),
    config_hash: Sequence[str] = (),
    threads: int = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> str:
    """Match pairs of SAEs one to one, encoder and decoder apart, with the proof; each SAE is read once.

    Args:
        a: folder of the first SAE, of any format that is read; once for each pair.
        b: folder of the second SAE, in the order of --a.
        out: file for the match, in the order of --a.
        latents_a: the first SAE's table of latents, which says which of them are alive; without it all count as live.
        latents_b: the second SAE's table of latents.
        config_hash: what the match was made from.
        threads: processor cores to use.
        device: where to compute.

    Returns:
        A line a pair: what it found.

    Raises:
        StudyError: lists of unequal length (the last three may be empty), or as for `match_pair`.
    """
    lists = {"b": b, "out": out, "latents_a": latents_a, "latents_b": latents_b, "config_hash": config_hash}
    check_one_each(len(a), "pairs", **lists)
    given = {"a": a} | {name: values for name, values in lists.items() if values}
    read = Prepared()
    for place, progress in enumerate(steps("match", len(a))):
        pair = {name: values[place] for name, values in given.items()}
        match_pair(**pair, read=read, threads=threads, device=device, progress=progress)
    triples = zip(a, b, out, strict=True)
    return "\n".join(f"{Path(one).name} and {Path(other).name}: {in_words(file)}" for one, other, file in triples)


def steps(name: str, pairs: int) -> Iterator[Callable[[float], None]]:
    """For each of so many pairs, a function that takes the fraction of it done; a bar on stderr shows them all."""
    form = "{desc}: {percentage:.0f}% [{elapsed}<{remaining}]"
    interval = 0.5 if sys.stderr.isatty() else 10.0
    with tqdm(total=pairs, desc=name, bar_format=form, mininterval=interval, delay=1) as bar:
        for place in range(pairs):
            yield lambda done, place=place: bar.update(place + done - bar.n)
        bar.update(pairs - bar.n)


def match_pair(
    *,
    a: Path,
    b: Path,
    out: Path,
    latents_a: Path | None = None,
    latents_b: Path | None = None,
    config_hash: str = "",
    read=None,
    threads: int | None = None,
    device: str | None = None,
    progress=None,
) -> None:
    """Match the SAEs in folders `a` and `b`, of any format, and write the match file `out`.

    `latents_a` and `latents_b` are their evaluation tables (column `alive`); without one, every latent counts as live.
    `config_hash` says what the match is made from. `read` is a `Prepared` that other pairs use too.
    Cosines do not depend on row norms, so folding decoder norms into the encoder, as comparisons of raw weights need,
    changes nothing here.
    Definitions: reference paper (arXiv 2501.16615), matching: P_enc and P_dec are independent assignments that maximise
    the sum of signed cosines.

    Raises:
        StudyError: a folder or table is missing or damaged, or the two do not belong together.
    """
    a, b = Path(a), Path(b)
    read = read or Prepared()
    rows_a, rows_b = read(a), read(b)
    alive_a = _alive(latents_a, len(rows_a["encoder"].rows))
    alive_b = _alive(latents_b, len(rows_b["encoder"].rows))
    metadata = {"a": _name(a), "b": _name(b), "config_hash": config_hash}
    write_match(out, rows_a, rows_b, alive_a, alive_b, metadata, threads=threads, device=device, progress=progress)


class Prepared:
    """Reads and normalises each SAE of several pairs once.

    Beyond KEPT_BYTES those used longest ago are dropped, and read again if need be.
    """

    def __init__(self) -> None:
        self.saes: dict[Path, dict[str, Dictionary]] = {}

    def __call__(self, folder: Path) -> dict[str, Dictionary]:
        """The rows of the SAE in `folder`, by side."""
        sae = self.saes.pop(folder, None)
        if sae is None:
            sae = {side: prepare(rows, f"{folder}, {side}") for side, rows in dictionaries(folder).items()}
        self.saes[folder] = sae
        while len(self.saes) > 2 and self.size > KEPT_BYTES:
            del self.saes[next(iter(self.saes))]
        return sae

    @property
    def size(self) -> int:
        """Bytes of the rows kept."""
        return sum(side.rows.nbytes + side.unit.nbytes for sae in self.saes.values() for side in sae.values())


def write_match(
    out: Path, rows_a: dict, rows_b: dict, alive_a, alive_b, metadata: dict, *, threads=None, device=None, progress=None
) -> None:
    """Match `{"encoder": (n, d), "decoder": (n, d)}` of two SAEs and write the table with `metadata` and the proofs."""
    assignments = match_sides(rows_a, rows_b, threads=threads, device=device, progress=progress)
    columns = match_columns(assignments, alive_a, alive_b)
    if len(alive_a) != len(alive_b):
        # A table has one row a latent of A; without these columns it is read as a pair of unequal SAEs.
        columns = {name: values for name, values in columns.items() if len(values) == len(alive_a)}
    write_table(out, pd.DataFrame(columns), metadata | {side: certificate(assignments[side]) for side in SIDES})


def match_sides(rows_a: dict, rows_b: dict, *, threads=None, device=None, progress=None) -> dict[str, Assignment]:
    """`match_rows` of encoder with encoder and of decoder with decoder, by side."""
    assignments = {}
    for place, side in enumerate(SIDES):
        step = None if progress is None else (lambda done, place=place: progress((place + done) / len(SIDES)))
        assignments[side] = match_rows(rows_a[side], rows_b[side], threads=threads, device=device, progress=step)
    return assignments


def match_columns(
    assignments: dict[str, Assignment], alive_a: np.ndarray, alive_b: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of a match: one value a latent of A, but of B in the `reverse_` ones and in `alive_b`."""
    columns = {"latent": np.arange(len(alive_a))}
    for side in SIDES:
        columns[f"counterpart_{side}"] = assignments[side].counterpart
        columns[f"cosine_{side}"] = assignments[side].cosine
    for side in SIDES:
        columns[f"best_{side}"] = assignments[side].best
        columns[f"best_{side}_cosine"] = assignments[side].best_cosine
    columns["alive"] = alive_a
    for side in SIDES:
        columns[f"reverse_best_{side}"] = assignments[side].reverse_best
        columns[f"reverse_best_{side}_cosine"] = assignments[side].reverse_best_cosine
    columns["alive_b"] = alive_b
    return columns


def certificate(assignment: Assignment) -> dict:
    """What proves the assignment and what it cost: objective, dual bound, gap, solver, seconds, peak bytes."""
    keys = ("objective", "bound", "gap", "solver", "rounds", "device", "seconds", "peak_bytes")
    return {key: getattr(assignment, key) for key in keys}


def dictionaries(path: Path) -> dict[str, np.ndarray]:
    """Encoder and decoder of an SAE of any format, each `(n_latents, d_model)` float32.

    torch is needed only for formats that are pickles. A folder in the project's own format is read without looking at
    the other formats.

    Raises:
        StudyError: no such file, a damaged one, or tensors that are missing or disagree in shape.
    """
    path = Path(path)
    if own.detect(path) or not checkpoint_files(path):
        return _own_dictionaries(path / "sae.safetensors")
    weights = formats.read(path)
    return {side: getattr(weights, side) for side in SIDES}


def _own_dictionaries(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            missing = [side for side in SIDES if side not in file.keys()]  # noqa: SIM118 (not a dict)
            if missing:
                raise StudyError(f"{path}: no tensor '{missing[0]}'; expected an SAE in this project's own format")
            found = {side: file.get_tensor(side) for side in SIDES}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; train this SAE first") from None
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path}: not readable as safetensors ({error}); delete it and run again") from None
    if found["encoder"].shape != found["decoder"].shape:
        raise StudyError(
            f"{path}: encoder {found['encoder'].shape} and decoder {found['decoder'].shape} differ in shape; "
            "both must be (n_latents, d_model)"
        )
    return found


def _alive(path: Path | None, n_latents: int) -> np.ndarray:
    if path is None:
        return np.ones(n_latents, bool)
    table, _ = read_table(path, columns=["alive"])
    if len(table) != n_latents:
        raise StudyError(f"{path}: {len(table)} rows for an SAE of {n_latents} latents; evaluate it again")
    return table["alive"].to_numpy(bool)


def _name(folder: Path) -> dict:
    """Cohort and seed of an SAE folder `.../{cohort}/seed-{seed}`; any other folder is named by its path alone."""
    config = folder / "cfg.json"
    described = json.loads(config.read_text()) if config.is_file() else {}
    seed = folder.name.removeprefix("seed-")
    return {
        "cohort": folder.parent.name,
        "seed": int(seed) if seed.isdecimal() else folder.name,
        "config_hash": described.get("config_hash"),
    }
