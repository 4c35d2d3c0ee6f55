"""Consensus SAEs whose encoder is trained anew for their directions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sae_stability.consensus.curve import Candidate
from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.sae.formats import own
from sae_stability.sae.training.fixed_decoder import retrained


def with_refitted(
    found: Iterator[Candidate], saes: dict[int, Path], chunk: Path, threads: int, out: Path, config_hash: str
) -> Iterator[Candidate]:
    """The same SAEs; after each consensus SAE the one that has its decoder rows and a new encoder, which is written.

    Args:
        found: made by `curve.candidates`.
        saes: folder of each SAE behind the consensus. Settings of training are those of the first.
        chunk: folder of a chunk of training activations.
        threads: processor cores to use.
        out: folder in which `at-least-M-refitted` is written.
        config_hash: recorded in what is written.

    Raises:
        StudyError: the first SAE was trained elsewhere, so its settings are not known.
    """
    folder = next(iter(saes.values()))
    cfg = read_json(folder / "cfg.json")
    if "batch_size" not in cfg:
        raise StudyError(f"{folder}: was not trained here, so how to train an encoder is not known; leave --refit out")
    return _with_refitted(found, cfg, chunk, threads, out, config_hash)


def _with_refitted(
    found: Iterator[Candidate], cfg: dict, chunk: Path, threads: int, out: Path, config_hash: str
) -> Iterator[Candidate]:
    for one in found:
        yield one
        if one.series == "consensus":
            n = one.sae.n_latents
            k = cfg["k"] if one.firing is None else round(one.firing)
            sized = cfg | {"n_latents": n, "k": int(np.clip(k, 1, n))}
            sae = retrained(sized, one.sae.decoder, chunk, threads).weights
            own.write(out / f"at-least-{one.m}-refitted", sae, config_hash)
            yield one._replace(series="refitted", sae=sae)
