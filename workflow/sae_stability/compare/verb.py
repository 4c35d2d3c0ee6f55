"""The verb `compare`."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sae_stability.compare import saes as sources
from sae_stability.compare import words
from sae_stability.compare.document import document
from sae_stability.errors import StudyError
from sae_stability.files import sha256, write_json
from sae_stability.match.floors import random_rows
from sae_stability.match.pair_overlap import Overlap, overlap
from sae_stability.match.pairs import SIDES
from sae_stability.match.threshold import THRESHOLD
from sae_stability.ranges import Cosine, Count


def compare(
    saes: Sequence[str],
    *,
    activations: Path | None = None,
    threshold: Cosine = THRESHOLD,
    out: Path | None = None,
    threads: Count | None = None,
) -> str:
    """Compare two SAEs or more, of any formats: how much every pair shares, beside the random floor.

    Args:
        saes: two SAEs or more: a folder or file, or repo:folder@revision of the Hugging Face hub.
        activations: rows that tell which latents are live: a matrix (.npy, .safetensors or .parquet) or the folder of a
            chunk of activations.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        out: folder for `compare.json`, with all numbers, the matching and what they were made from, and for the figure
            `joint-A-B` of every pair.
        threads: processor cores to use; all that this process may use if left out.

    Returns:
        The table for the terminal.

    Raises:
        StudyError: no such SAE or a damaged one, SAEs of different widths, or rows of another width.
    """
    with tempfile.TemporaryDirectory() as downloads:
        found = sources.read_all(list(saes), Path(downloads))
    on_rows = _on_rows(found, activations)
    pairs, floors = {}, {}
    by_shape: dict[tuple, Overlap] = {}
    for a, b in itertools.combinations(found, 2):
        flags = {f"alive_{side}": on_rows[x.name].alive for side, x in (("a", a), ("b", b)) if on_rows}
        rows = ({side: getattr(x.weights, side) for side in SIDES} for x in (a, b))
        pairs[a.name, b.name] = overlap(*rows, threshold, threads=threads, **flags)
        shape = (a.weights.n_latents, b.weights.n_latents, a.weights.d_model)
        if shape not in by_shape:
            by_shape[shape] = _floor(*shape, threshold, threads)
        floors[a.name, b.name] = by_shape[shape]
    if out is not None:
        rows_of = _described(activations, on_rows)
        write_json(Path(out) / "compare.json", document(found, on_rows, rows_of, pairs, floors))
        _draw(found, on_rows, pairs, floors, Path(out))
    return words.told(found, on_rows, pairs, floors)


def _on_rows(found: list[sources.Compared], activations: Path | None) -> dict:
    if activations is None:
        return {}
    if not Path(activations).exists():
        raise StudyError(f"{activations}: no such file or folder; --activations takes a matrix or a chunk")
    from sae_stability.compare.live import measure  # late: it takes torch

    return {sae.name: measure(sae.weights, Path(activations)) for sae in found}


def _described(activations: Path | None, on_rows: dict) -> dict | None:
    """The activations, with the digest of the matrix or of the chunk's manifest, which holds those of its shards."""
    if activations is None:
        return None
    file = activations / "manifest.json" if activations.is_dir() else activations
    rows = next(iter(on_rows.values())).rows
    return {"given": str(activations), "rows": rows, "sha256": {file.name: sha256(file)}}


def _floor(n_a: int, n_b: int, d_model: int, threshold: float, threads: int | None) -> Overlap:
    """What two random dictionaries of these shapes share."""
    sizes = {"a": n_a, "b": n_b}
    rows = ({side: random_rows(n, d_model, 0, name, side) for side in SIDES} for name, n in sizes.items())
    return overlap(*rows, threshold, threads=threads)


def _draw(found: list[sources.Compared], on_rows: dict, pairs: dict, floors: dict, out: Path) -> None:
    from sae_stability.compare.picture import draw  # late: it takes Matplotlib

    sizes = {sae.name: sae.weights.n_latents for sae in found}
    alive = {name: on_rows[name].alive if on_rows else np.ones(n, bool) for name, n in sizes.items()}
    for names, pair in pairs.items():
        draw(names, pair, floors[names], (alive[names[0]], alive[names[1]]), out)
