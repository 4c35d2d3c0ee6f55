"""Match pairs of SAEs, encoder and decoder separately, into match files with one row per latent of the first SAE."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_table, write_json, write_table
from sae_stability.match.absolute import ABSOLUTE, mean_absolute_cosine
from sae_stability.match.assignment import Assignment, match_rows
from sae_stability.match.limits import KEPT_BYTES
from sae_stability.match.rows import Dictionary, prepare
from sae_stability.match.summary_line import summary
from sae_stability.one_each import check_one_each
from sae_stability.ranges import Count
from sae_stability.sae import formats
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
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> str:
    """Match pairs of SAEs one to one, encoder and decoder separately, with a proof that the matching is optimal.

    Args:
        a: folder of the first SAE, in any format that can be read; once for each pair.
        b: folder of the second SAE; once for each --a, in the same order.
        out: match file to write; once for each --a, in the same order.
        latents_a: the first SAE's table of latents, which says which are alive; without it all count as live.
        latents_b: the second SAE's table of latents.
        config_hash: fingerprint of the SAEs, settings and code behind the match, recorded in the file.
        threads: processor cores to use.
        device: where to compute.

    Returns:
        One line per pair: the fractions matched, and the gap.

    Raises:
        StudyError: lists of unequal length (the last three lists may be left out), or as for `match_pair`.
    """
    lists = {"b": b, "out": out, "latents_a": latents_a, "latents_b": latents_b, "config_hash": config_hash}
    check_one_each(len(a), "pairs", **lists)
    arguments = {"a": a} | {name: values for name, values in lists.items() if values}
    cache = SaeCache()
    for place, progress in enumerate(pair_progress("match", len(a))):
        pair = {name: values[place] for name, values in arguments.items()}
        match_pair(**pair, cache=cache, threads=threads, device=device, progress=progress)
    triples = zip(a, b, out, strict=True)
    return "\n".join(f"{Path(sae_a).name} and {Path(sae_b).name}: {summary(file)}" for sae_a, sae_b, file in triples)


def pair_progress(name: str, pairs: int) -> Iterator[Callable[[float], None]]:
    """Yield, for each pair, a function to call with the fraction of it that is done; one bar on stderr shows all."""
    bar_format = "{desc}: {percentage:.0f}% [{elapsed}<{remaining}]"
    interval = 0.5 if sys.stderr.isatty() else 10.0
    with tqdm(total=pairs, desc=name, bar_format=bar_format, mininterval=interval, delay=1) as bar:
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
    cache: "SaeCache | None" = None,
    threads: int | None = None,
    device: str | None = None,
    progress=None,
) -> None:
    """Match the SAEs in folders `a` and `b`, of any format, and write the match file `out`.

    As in arXiv 2501.16615, the encoder and the decoder assignment are independent, and each maximises the sum of signed
    cosines. Cosines do not depend on row norms, so it makes no difference whether decoder norms are folded into the
    encoder.

    Args:
        a, b: folders of the SAEs.
        out: match file to write.
        latents_a, latents_b: their evaluation tables (column `alive`); without one, every latent counts as live.
        config_hash: fingerprint of the SAEs, settings and code behind the match, recorded in the file.
        cache: keeps SAEs for other pairs.
        threads: CPU threads; default all that this process may use.
        device: None or "cpu", or a CUDA device.
        progress: called with the fraction of the work done, in [0, 1].

    Raises:
        StudyError: a folder or table is missing or damaged, or the two do not belong together.
    """
    a, b = Path(a), Path(b)
    cache = cache or SaeCache()
    rows_a, rows_b = cache(a), cache(b)
    alive_a = _alive(latents_a, len(rows_a["encoder"].rows))
    alive_b = _alive(latents_b, len(rows_b["encoder"].rows))
    metadata = {"a": _name(a), "b": _name(b), "config_hash": config_hash}
    write_match(out, rows_a, rows_b, alive_a, alive_b, metadata, threads=threads, device=device, progress=progress)


class SaeCache:
    """Reads and normalises each SAE once for several pairs.

    Beyond KEPT_BYTES the least recently used SAEs are dropped, and read again when needed.
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
    """Match two SAEs, `{"encoder": (n, d), "decoder": (n, d)}` each, and write the match file.

    Time and memory of the matching stand in a file of their own, `0-1.timing.json` beside `0-1.parquet`: the same input
    gives a match file of the same bytes.

    Args:
        out: match file to write.
        rows_a, rows_b: rows of the SAEs by side, as `match_rows` takes them.
        alive_a, alive_b: `(n,)` bool, which latents fire.
        metadata: recorded in the file, with the certificates of both sides and the mean |cosine| of the decoders, which
            are matched once more for it.
        threads, device, progress: as for `match_rows`.
    """
    rows_a, rows_b = (
        {side: rows if isinstance(rows, Dictionary) else prepare(rows, side) for side, rows in sae.items()}
        for sae in (rows_a, rows_b)
    )
    assignments = match_sides(rows_a, rows_b, threads=threads, device=device, progress=progress)
    columns = match_columns(assignments, alive_a, alive_b)
    proofs = {side: certificate(assignments[side]) for side in SIDES}
    absolute = mean_absolute_cosine(rows_a["decoder"], rows_b["decoder"], threads)
    if len(alive_a) != len(alive_b):
        # The file has one row per latent of A, so it has no room for columns over the latents of B.
        columns = {name: values for name, values in columns.items() if len(values) == len(alive_a)}
    write_json(Path(out).with_suffix(".timing.json"), {side: timing(assignments[side]) for side in SIDES})
    write_table(out, pd.DataFrame(columns), metadata | {ABSOLUTE: absolute} | proofs)


def match_sides(rows_a: dict, rows_b: dict, *, threads=None, device=None, progress=None) -> dict[str, Assignment]:
    """`match_rows` of encoder with encoder and of decoder with decoder, by side."""
    assignments = {}
    for place, side in enumerate(SIDES):
        of_side = None if progress is None else (lambda done, place=place: progress((place + done) / len(SIDES)))
        assignments[side] = match_rows(rows_a[side], rows_b[side], threads=threads, device=device, progress=of_side)
    return assignments


def match_columns(
    assignments: dict[str, Assignment], alive_a: np.ndarray, alive_b: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of a match: one value per latent of A; `reverse_*` and `alive_b` have one per latent of B."""
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
    """The proof of an assignment and how it was found: objective, dual bound, gap, solver, rounds, device."""
    keys = ("objective", "bound", "gap", "solver", "rounds", "device")
    return {key: getattr(assignment, key) for key in keys}


def timing(assignment: Assignment) -> dict:
    """What an assignment took: seconds, and the process's largest memory in bytes."""
    return {key: getattr(assignment, key) for key in ("seconds", "peak_bytes")}


def dictionaries(path: Path) -> dict[str, np.ndarray]:
    """Encoder and decoder of an SAE of any format, each `(n_latents, d_model)` float32.

    torch is needed only for formats that are pickles. For a folder in the project's own format, no other format is
    imported.

    Raises:
        StudyError: as `formats.read`: no SAE, or one that is damaged or not plausible.
    """
    path = Path(path)
    weights = own.read(path) if own.detect(path) else formats.read(path)
    return {side: getattr(weights, side) for side in SIDES}


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
    described = read_json(config) if config.is_file() else {}
    seed = folder.name.removeprefix("seed-")
    return {
        "cohort": folder.parent.name,
        "seed": int(seed) if seed.isdecimal() else folder.name,
        "config_hash": described.get("config_hash"),
    }
