"""Overlap tables -> a tidy table a figure -> the figure and its caption."""

from typing import TYPE_CHECKING

from sae_stability.figures.registry import FIGURES
from sae_stability.pipeline.code_hash import code_hash
from sae_stability.pipeline.command import flags, keyed
from sae_stability.pipeline.cost import Cost
from sae_stability.study.build import Study
from sae_stability.study.parts import Figure

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline


def inputs(pipeline: "Pipeline", figure: Figure) -> list[str]:
    """The files that a figure's table is made from."""
    tables = [file for _, cohort in figure.inputs for file in pipeline.results.overlap_tables(cohort)]
    return [file for _, file in _extra_files(pipeline, figure)] + tables


def table_code(figure: Figure) -> str:
    """The hash of the code that makes a figure's table."""
    return code_hash("figure-table", FIGURES[figure.figure].table)


def drawing_code(figure: Figure) -> str:
    """The hash of the code that draws a figure."""
    return code_hash("figure", FIGURES[figure.figure].drawing)


def table_command(pipeline: "Pipeline", figure: Figure) -> str:
    """The kind of figure, and the label and place of every source: a cohort's folder of overlap tables, or a file."""
    folders = [(label, pipeline.results.overlap(cohort)) for label, cohort in figure.inputs]
    sources = folders + _extra_files(pipeline, figure)
    return " ".join([flags(figure=figure.figure), *(flags(input=keyed(label, path)) for label, path in sources)])


def cost(study: Study, _rates: dict) -> Cost:
    """A table and a drawing for each figure."""
    return Cost("figures", jobs=2 * len(study.figures))


def _extra_files(pipeline: "Pipeline", figure: Figure) -> list[tuple[str, str]]:
    """Cohort and file of what the figure reads besides overlap tables: the first match, or every SAE's quality."""
    places = pipeline.results
    cohorts = [pipeline.study.cohorts[cohort] for _, cohort in figure.inputs]
    found = []
    for kind in FIGURES[figure.figure].extra:
        if kind == "match":
            found += [(cohort.slug, places.match(cohort.slug, *cohort.pairs[0])) for cohort in cohorts]
        else:
            found += [(cohort.slug, places.quality(cohort.slug, seed)) for cohort in cohorts for seed in cohort.seeds]
    return found
