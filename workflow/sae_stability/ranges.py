"""Ranges of numbers: checked in one way, told in one form of words, and named in the annotations of parameters."""

import dataclasses
import operator
from collections.abc import Mapping
from typing import Annotated

from sae_stability.errors import StudyError

_BOUNDS = {"minimum": operator.ge, "exclusiveMinimum": operator.gt, "maximum": operator.le}


def range_fault(value: float, limits: Mapping) -> str | None:
    """Error message, without the number's name, if a number is outside its `limits`; else None.

    Args:
        value: the number. NaN is outside every range.
        limits: `minimum`, `exclusiveMinimum`, `maximum`, as in JSON Schema. A `$comment` gives the reason and is part
            of the message.
    """
    if all(holds(value, limits[bound]) for bound, holds in _BOUNDS.items() if bound in limits):
        return None
    reason = f"{limits['$comment']}; " if "$comment" in limits else ""
    return f"{value} given; {reason}it must be {_range(limits)}"


def _range(limits: Mapping) -> str:
    """The allowed range as text."""
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is not None and high is not None:
        return f"from {low:,} to {high:,}"
    words = []
    if low is not None:
        words.append(f"at least {low:,}")
    if "exclusiveMinimum" in limits:
        words.append(f"above {limits['exclusiveMinimum']:,}")
    if high is not None:
        words.append(f"at most {high:,}")
    return " and ".join(words)


@dataclasses.dataclass(frozen=True, eq=False)  # by identity, so that it can be hashed: unions need that
class Within:
    """The limits of a number, for its annotation: `Annotated[int, Within({"minimum": 1})]`."""

    limits: Mapping

    def fault(self, value: float) -> str | None:
        """As `range_fault`."""
        return range_fault(value, self.limits)


_MOST = 10**12  # above any real count; a larger number is a slip, and would only fail later
Count = Annotated[int, Within({"minimum": 1, "maximum": _MOST})]
"""How many there are of something, such as latents."""

Index = Annotated[int, Within({"minimum": 0, "maximum": _MOST})]
"""A number that counts from 0: a place in a row, or a seed."""

Cosine = Annotated[float, Within({"minimum": 0, "maximum": 1})]
"""A threshold on cosines."""


def checked_count(name: str, value: object) -> int:
    """`value`, which must be a whole number of at least 1, as an int.

    Raises:
        StudyError: it is not; the message begins with `name`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise StudyError(f"{name}: {value!r} given; it must be a whole number") from None
    if fault := range_fault(number, {"minimum": 1}):
        raise StudyError(f"{name}: {fault}")
    return number
