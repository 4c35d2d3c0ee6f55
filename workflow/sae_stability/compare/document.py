"""A comparison as JSON: numbers, the matching, and what they were made from.

`docs/compare.schema.json` describes it.
"""

import math
import platform
from importlib.metadata import version

import numpy as np

from sae_stability.compare.saes import Compared
from sae_stability.match.assignment import Assignment
from sae_stability.match.pair_overlap import Overlap, Shares, tied

FORMAT = "sae-stability/compare"
VERSION = 2


def document(saes: list[Compared], on_rows: dict, activations: dict | None, pairs: dict, floors: dict) -> dict:
    """The whole comparison, ready for `write_json`.

    Args:
        saes: the SAEs.
        on_rows: name of an SAE -> `live.OnRows`; empty where no activations were given.
        activations: file, digest and number of rows; None where none were given.
        pairs: (name, name) -> `Overlap`.
        floors: (name, name) -> `Overlap` of random dictionaries of the same shapes.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_with": {"sae-stability": version("sae-stability"), "numpy": np.__version__}
        | {"python": platform.python_version()},
        "threshold": next(iter(pairs.values())).threshold,
        "activations": activations,
        "saes": [_described(sae, on_rows.get(sae.name)) for sae in saes],
        "pairs": [
            {"a": a, "b": b} | _numbers(found) | _floors(floors[a, b]) | {"matching": _matching(found)}
            for (a, b), found in pairs.items()
        ],
    }


def _described(sae: Compared, on_rows) -> dict:
    weights = sae.weights
    quality = {"live": None, "fvu": None, "l0": None}
    if on_rows is not None:
        quality = {"live": int(on_rows.alive.sum()), "fvu": _finite(on_rows.fvu), "l0": on_rows.l0}
    return {
        **{"name": sae.name, "given": sae.given, "format": weights.origin.get("format")},
        **{"sha256": sae.digests, "n_latents": weights.n_latents, "d_model": weights.d_model},
        **{"activation": weights.activation, "k": weights.k},
        **quality,
    }


def _numbers(found: Overlap) -> dict:
    return {
        "all": _shares(found.all),
        "live": None if found.live is None else _shares(found.live),
        "pw_mcc": {"signed": _finite(found.pw_mcc_signed), "absolute": _finite(found.pw_mcc_absolute)},
        "mmcs": {
            "a_to_b": _finite(found.all.mean_best_decoder),
            "b_to_a": _finite(found.all.mean_best_decoder_reverse),
        },
        "gap": found.gap,
    }


def _floors(random: Overlap) -> dict:
    return {"floor": _numbers(random), "tied_floor": _shares(tied(random))}


def _shares(shares: Shares) -> dict:
    return {name: _finite(value) for name, value in vars(shares).items()}


def _matching(found: Overlap) -> dict:
    return {side: _assignment(getattr(found, side)) for side in ("encoder", "decoder")}


def _assignment(side: Assignment) -> dict:
    cosines = [_finite(round(value, 6)) for value in side.cosine.tolist()]
    return {
        **{"counterpart": side.counterpart.tolist(), "cosine": cosines},
        **{"objective": side.objective, "bound": side.bound, "gap": side.gap},
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN."""
    return None if value is None or math.isnan(value) else value
