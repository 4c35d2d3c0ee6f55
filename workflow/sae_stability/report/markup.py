"""The language of captions and of the key numbers: text with *emphasis* and **strong** words, paragraphs and tables.

It is the part of reStructuredText that `figures.phrases` and the captions use. A backslash takes the meaning from the
character after it, so text that was escaped stays text.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of text; `look` is "", "emphasis" or "strong"."""

    text: str
    look: str = ""


_TOKENS = re.compile(r"\\(?P<literal>.)|(?P<mark>\*\*|\*)|(?P<text>[^\\*]+|\\$)", re.DOTALL)
_LOOKS = {"*": "emphasis", "**": "strong"}


def spans(text: str) -> tuple[Span, ...]:
    """The pieces of a text. A mark that nothing closes counts as text."""
    found: list[Span] = []
    look, opened = "", 0
    for token in _TOKENS.finditer(text):
        mark = token["mark"]
        if mark and not look:
            look, opened = _LOOKS[mark], len(found)
            found.append(Span("", look))
        elif mark and _LOOKS[mark] == look:
            look = ""
        else:
            _add(found, mark or token["literal"] or token["text"], look)
    if look:
        mark = next(mark for mark, name in _LOOKS.items() if name == look)
        found, rest = found[:opened], found[opened:]
        _add(found, mark + plain(rest), "")
    return tuple(span for span in found if span.text)


def plain(some: Iterable[Span]) -> str:
    """The text without its looks."""
    return "".join(span.text for span in some)


def printable(text: str) -> str:
    """The text on one line, with a space for each character that cannot be seen, such as one that turns direction."""
    return "".join(character if character.isprintable() else " " for character in text)


def list_table(text: str) -> list[list[str]] | None:
    """The cells of a `list-table`, the heading first; None for other text."""
    if not text.startswith(".. list-table::"):
        return None
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("   * - "):
            rows.append([line.removeprefix("   * - ")])
        elif line.startswith("     - "):
            rows[-1].append(line.removeprefix("     - "))
    return rows


def _add(found: list[Span], text: str, look: str) -> None:
    """Add text to the last piece if that has the same look, else as a piece of its own."""
    if found and found[-1].look == look:
        found[-1] = Span(found[-1].text + text, look)
    else:
        found.append(Span(text, look))
