"""Phrases of captions and of the summary: numbers in words, and text from a study that cannot turn into markup."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from sae_stability.figures.selection import rows_where

NOT_MEASURED = "not measured"

PAPER_IS_JOINT = (
    "the paper's 'aligned' is *joint*: both cosines above 0.7, each in its own assignment, whether or not the "
    "counterparts are the same"
)


def escape(text: object) -> str:
    """`text` on one line, safe inside reStructuredText that then passes through Jinja.

    Every punctuation mark that starts markup in either language gets a backslash of its own, so no two of them stand
    side by side.
    """
    line = " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())
    return re.sub(r"([^\w\s.,/-]|_)", r"\\\1", line)


def percent(fraction: float) -> str:
    """ "34.2%"; "0.04%" where one decimal would show 0; "not measured" for NaN."""
    if not np.isfinite(fraction):
        return NOT_MEASURED
    points = 100 * fraction
    return f"{points:.2f}%" if 0 < abs(points) < 0.05 else f"{points:.1f}%"


def percent_range(fractions: Iterable[float]) -> str:
    """Smallest to largest: "31.0% to 36.5%", or one number where both read the same; "not measured" if all are NaN."""
    values = np.asarray(list(fractions), dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        return NOT_MEASURED
    low, high = percent(values.min()), percent(values.max())
    return low if low == high else f"{low} to {high}"


def count(number: int, noun: str) -> str:
    """ "1 pair", "10 pairs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def count_range(numbers: Iterable[int]) -> str:
    """Smallest to largest of whole numbers: "5 to 20", or one number where they are equal."""
    numbers = sorted({int(number) for number in numbers})
    words = [f"{number:,}" if number < 10**12 else f"{number:.1e}" for number in (numbers[0], numbers[-1])]
    return words[0] if len(numbers) == 1 else " to ".join(words)


def shared_condition(threshold: float) -> str:
    """When a latent is shared, as a part of a sentence."""
    return (
        "matched to the same counterpart by the encoder and by the decoder assignment, with both cosines at least "
        f"{threshold:g}"
    )


def definition(threshold: float) -> str:
    """What "shared" means, as a sentence."""
    return f"*Shared* means {shared_condition(threshold)}."


def random_floor(fractions: Iterable[float]) -> str:
    """The random floor as a clause, from the fractions of its repetitions."""
    found = percent_range(fractions)
    return "no random floor was computed" if found == NOT_MEASURED else f"the random floor is {found}"


def floor_of(table: pd.DataFrame, statistic: str = "shared") -> str:
    """The random floor of one statistic as a clause, from a figure's table."""
    return random_floor(rows_where(table, source="floor", latents="all", statistic=statistic)["fraction"])


def counterpart_floors(rows: pd.DataFrame) -> str:
    """Both floors of "same counterpart" as a clause, from rows of that statistic.

    The second floor ties the encoder to the decoder: see `match.overlap_tables.tied`.
    """
    random, tied = (rows_where(rows, source=source)["fraction"] for source in ("floor", "tied"))
    if not np.isfinite(tied).any():
        return random_floor(random)
    at_first = f"with the encoder tied to the decoder, as before training, it is {percent_range(tied)}"
    return f"{random_floor(random)}; {at_first}"
