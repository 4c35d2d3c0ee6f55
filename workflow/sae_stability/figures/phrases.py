"""Captions and summaries in words: numbers from a table, and config text that cannot turn into markup."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

NOT_MEASURED = "not measured"


def escape(text: object) -> str:
    """`text` as plain words inside reStructuredText that then passes through Jinja, on one line.

    Every punctuation mark that starts a piece of markup in either language gets a backslash of its own, so no two of
    them stand side by side.
    """
    line = " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())
    return re.sub(r"([^\w\s.,/-]|_)", r"\\\1", line)


def percent(fraction: float) -> str:
    """ "34.2%"; "0.04%" where one decimal would hide it; "not measured" for NaN."""
    if not np.isfinite(fraction):
        return NOT_MEASURED
    points = 100 * fraction
    return f"{points:.2f}%" if 0 < abs(points) < 0.05 else f"{points:.1f}%"


def span(fractions: Iterable[float]) -> str:
    """Smallest to largest: "31.0% to 36.5%", or one number where they agree; "not measured" if there is none."""
    values = np.asarray(list(fractions), dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        return NOT_MEASURED
    low, high = percent(values.min()), percent(values.max())
    return low if low == high else f"{low} to {high}"


def count(number: int, noun: str) -> str:
    """ "1 pair", "10 pairs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def counts(numbers: Iterable[int]) -> str:
    """Smallest to largest of whole numbers: "5 to 20"."""
    numbers = sorted({int(number) for number in numbers})
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def pick(rows: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns have the values given."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def meaning(threshold: float) -> str:
    """What "shared" means, as a part of a sentence."""
    return (
        "matched to the same counterpart by the encoder and by the decoder assignment, with both cosines at least "
        f"{threshold:g}"
    )


def definition(threshold: float) -> str:
    """What "shared" means, as a sentence."""
    return f"*Shared* means {meaning(threshold)}."


def floor(fractions: Iterable[float]) -> str:
    """The random floor as a clause."""
    words = span(fractions)
    return "no random floor was computed" if words == NOT_MEASURED else f"the random floor is {words}"


def counterpart_floors(rows: pd.DataFrame) -> str:
    """Both floors of "same counterpart" as a clause, from rows of that statistic; see `match.overlap.tied`."""
    random, tied = (pick(rows, source=source)["fraction"] for source in ("floor", "tied"))
    if not np.isfinite(tied).any():
        return floor(random)
    return f"{floor(random)}, with encoder and decoder tied, as before training, {span(tied)}"


PAPER_IS_JOINT = (
    "the paper's 'aligned' is *joint*, both cosines above 0.7, each in its own assignment, same counterpart not "
    "asked for"
)
