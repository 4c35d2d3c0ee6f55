"""Which figures there are, and which two modules make each.

A figure is made in two steps that import nothing from each other, so a change to a drawing or a style never remakes a
table: `tables/NAME.py` holds `table(inputs)`, `drawings/NAME.py` holds `draw(table, style)` and `caption(table)`.
"""

import difflib
import importlib
from types import ModuleType
from typing import NamedTuple

from sae_stability.errors import StudyError


class Modules(NamedTuple):
    """The modules of one figure, by their full names."""

    table: str
    drawing: str


_NAMES = (
    *("joint", "seeds", "sharing", "size", "k", "tokens", "layer", "position", "randomness", "architecture"),
    "thresholds",
)

FIGURES: dict[str, Modules] = {
    name: Modules(f"{__package__}.tables.{name}", f"{__package__}.drawings.{name}") for name in _NAMES
}


def load(figure: str, step: str) -> ModuleType:
    """Import the module of `figure` for `step`, "table" or "drawing".

    Raises:
        StudyError: there is no such figure.
    """
    if figure not in FIGURES:
        near = difflib.get_close_matches(figure, FIGURES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise StudyError(f"no figure {figure!r}; there are {', '.join(FIGURES)}{hint}")
    return importlib.import_module(getattr(FIGURES[figure], step))
