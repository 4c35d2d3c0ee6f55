"""What a paper is written from: a study's settings, its key numbers, and its figures with their tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import summary
from sae_stability.figures.selection import rows_where
from sae_stability.report.blocks import Picture
from sae_stability.report.markup import spans


class Drawn(NamedTuple):
    """A figure of the study: its kind, its tidy table, and its picture."""

    kind: str
    table: pd.DataFrame
    picture: Picture


class Evidence(NamedTuple):
    """Everything that a paper may say something about.

    Attributes:
        study: name of the study.
        base: the base cohort.
        facts: the study's settings, as `pipeline.report.facts` gives them.
        numbers: the key numbers.
        figures: the figures, in the study's order.
    """

    study: str
    base: str
    facts: dict
    numbers: summary.Numbers
    figures: list[Drawn]

    def of_kind(self, kind: str) -> list[Drawn]:
        """The figures of one kind."""
        return [figure for figure in self.figures if figure.kind == kind]

    def fractions(self, source: str, latents: str = "all", statistic: str = "shared") -> pd.Series:
        """A statistic of every pair of the base cohort, or of every repetition of a floor."""
        return rows_where(self.numbers.pairs, source=source, latents=latents)[statistic].dropna()


def gather(
    *,
    study: str,
    base: str,
    facts: dict,
    overlap: Path,
    evaluation: Sequence[tuple[str, Path]],
    figure: Sequence[tuple[str, Path]],
) -> Evidence:
    """Read what a paper is written from, and check that figures and tables are as they were written.

    Raises:
        StudyError: a file that is missing, damaged or changed.
    """
    files.verify(file=[path for _, record in figure for path in (record, record.with_suffix(".parquet"))])
    numbers = summary.read(base=base, folder=overlap, evaluation=evaluation)
    return Evidence(study, base, facts, numbers, [_drawn(kind, record) for kind, record in figure])


def _drawn(kind: str, record: Path) -> Drawn:
    svg, pdf, caption = (record.with_suffix(ending) for ending in (".svg", ".pdf", ".rst"))
    table, _ = files.read_table(record.with_suffix(".parquet"))
    try:
        text = caption.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{caption}: cannot be read ({error}); delete it and run again") from None
    return Drawn(kind, table, Picture(record.stem, svg, pdf, spans(text)))
