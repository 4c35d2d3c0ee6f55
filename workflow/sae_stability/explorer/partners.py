"""The partners of an SAE's latents in the other SAEs of its cohort."""

import numpy as np
import pandas as pd

_SIDES = ("decoder", "encoder")


def partners(match: pd.DataFrame, cofiring: pd.DataFrame | None, *, of_second: bool) -> pd.DataFrame:
    """Counterparts and nearest latents of every latent of one SAE of a pair, a row a latent.

    Args:
        match: the pair's table of matches.
        cofiring: its table of co-firing; None without one.
        of_second: for the latents of the second SAE of the pair; otherwise for those of the first.

    Returns:
        `counterpart_SIDE` (-1: none), `cosine_SIDE`, `nearest_SIDE` and `nearest_cosine_SIDE` for decoder and encoder,
        and with `cofiring` the `correlation` and `jaccard` with the decoder's counterpart.
    """
    found = _of_second(match) if of_second else _of_first(match)
    if cofiring is not None:
        found = found.join(_fire_together(cofiring, "counterpart" if of_second else "latent"))
    return found


def _of_first(match: pd.DataFrame) -> pd.DataFrame:
    found = {}
    for side in _SIDES:
        found[f"counterpart_{side}"] = match[f"counterpart_{side}"]
        found[f"cosine_{side}"] = match[f"cosine_{side}"]
        found[f"nearest_{side}"] = match[f"best_{side}"]
        found[f"nearest_cosine_{side}"] = match[f"best_{side}_cosine"]
    return pd.DataFrame(found)


def _of_second(match: pd.DataFrame) -> pd.DataFrame:
    """The same from the other side. SAEs of a cohort have one size, so the match has columns of both directions."""
    found = {}
    for side in _SIDES:
        counterpart = match[f"counterpart_{side}"].to_numpy()
        matched = np.flatnonzero(counterpart >= 0)
        back, cosine = np.full(len(match), -1), np.full(len(match), np.nan)
        back[counterpart[matched]] = matched
        cosine[counterpart[matched]] = match[f"cosine_{side}"].to_numpy()[matched]
        found[f"counterpart_{side}"], found[f"cosine_{side}"] = back, cosine
        found[f"nearest_{side}"] = match[f"reverse_best_{side}"]
        found[f"nearest_cosine_{side}"] = match[f"reverse_best_{side}_cosine"]
    return pd.DataFrame(found)


def _fire_together(cofiring: pd.DataFrame, index: str) -> pd.DataFrame:
    matched = cofiring[(cofiring["pairing"] == "decoder") & (cofiring[index] >= 0)]
    return matched.set_index(index)[["correlation", "jaccard"]]
