"""What a paper consists of: sections of blocks. Both writers, of HTML and of PDF, take these and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sae_stability.report.formulas import Formula
from sae_stability.report.markup import Span, spans


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: tuple[Span, ...]


@dataclass(frozen=True)
class Points:
    """A list of points, numbered or not."""

    items: tuple[tuple[Span, ...], ...]
    numbered: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a heading for each column. `title` stands above it."""

    title: tuple[Span, ...]
    heading: tuple[tuple[Span, ...], ...]
    rows: tuple[tuple[tuple[Span, ...], ...], ...]


@dataclass(frozen=True)
class Equation:
    """A formula on a line of its own."""

    formula: Formula


@dataclass(frozen=True)
class Picture:
    """A figure with its caption: the same picture as SVG, for HTML, and as PDF."""

    slug: str
    svg: Path
    pdf: Path
    caption: tuple[Span, ...]


Block = Paragraph | Points | Table | Equation | Picture


class Section(NamedTuple):
    """A section of the paper. `name` is its anchor."""

    name: str
    title: str
    blocks: list[Block]


class Paper(NamedTuple):
    """A whole paper. `lead` stands in a box of its own, before the sections."""

    title: tuple[Span, ...]
    subtitle: tuple[Span, ...]
    lead: Section
    sections: list[Section]


def paragraph(*sentences: str) -> list[Paragraph]:
    """A paragraph of those sentences that are not empty; nothing if none is left."""
    text = " ".join(filter(None, sentences))
    return [Paragraph(spans(text))] if text else []


def points(sentences: Sequence[str], numbered: bool = False) -> list[Points]:
    """A list of the sentences; nothing if there is none."""
    return [Points(tuple(map(spans, sentences)), numbered)] if sentences else []


def table(title: str, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Table]:
    """A table; nothing if it has no row."""
    if not rows:
        return []
    return [Table(spans(title), tuple(map(spans, heading)), tuple(tuple(map(spans, row)) for row in rows))]
