"""docs/formats.md lists the columns of every figure's table."""

import pyarrow.parquet as pq
import pytest

from sae_stability.figures import registry
from tests import pages

LISTED = pages.columns_of_each(pages.section(pages.FORMATS, "Figures: `figures/FIGURE.*`"), "kind")


def test_every_kind_of_figure_is_listed_and_no_other():
    assert LISTED.keys() == registry.FIGURES.keys()


@pytest.mark.parametrize("figure", registry.FIGURES)
def test_the_columns_of_a_table_are_those_that_are_listed(figure, table_of):
    assert set(pq.read_schema(table_of(figure)).names) == LISTED[figure]
