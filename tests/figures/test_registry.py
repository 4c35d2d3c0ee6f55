"""Kinds of figure: each is declared once, and the declaration is all that a new one needs beside its two modules."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.figures import drawings, registry, tables
from sae_stability.figures.registry import FIGURES, FigureKind
from sae_stability.study import schema
from sae_stability.study.figures import CHECKS, figure_of
from sae_stability.study.parts import Point, Sweep

PACKAGE = Path(registry.__file__).parents[1]

TABLE = '''
"""The number of pairs of every cohort at its k."""

import pandas as pd

from sae_stability.figures.tables import overlap


def table(inputs):
    rows = overlap.pair_rows(inputs, overlap.number)
    shared = rows[(rows["source"] == "trained") & (rows["latents"] == "all") & (rows["statistic"] == "shared")]
    return shared.groupby(["source", "x"], as_index=False)["fraction"].count()
'''

DRAWING = '''
"""A line through the numbers of pairs."""

from sae_stability.figures.drawings import style as styles


def draw(table, style):
    picture = styles.figure(style, 2.0)
    picture.add_subplot().plot(table["x"], table["fraction"], color=style["palette"][1])
    return picture


def caption(table):
    return f"There are {table['fraction'].sum()} pairs."
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A kind of figure more: one declaration, and a module in each of the two folders."""
    for package, source in ((tables, TABLE), (drawings, DRAWING)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / "toy.py").write_text(source)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setitem(FIGURES, "toy", FigureKind("toy", swept="k"))
    schema.schema.cache_clear()
    yield FIGURES["toy"]
    schema.schema.cache_clear()
    for module in (FIGURES["toy"].table, FIGURES["toy"].drawing):
        sys.modules.pop(module, None)


def sweep(*cohorts: str, fields: tuple[str, ...] = ()) -> Sweep:
    return Sweep("some", None, fields, tuple(Point(cohort, {"k": cohort}) for cohort in cohorts))


def cohorts(**of_k: int) -> dict:
    return {slug: SimpleNamespace(slug=slug, k=k, seeds=(0, 1)) for slug, k in of_k.items()}


def test_a_figure_is_added_by_one_declaration_and_two_modules(toy, make, tmp_path):
    given = schema.check({"sweep": "some", "figure": "toy"}, schema.definition("sweep_figure"))
    figure = figure_of("mine", given, cohorts(one=4, two=8), {"some": sweep("one", "two")})
    assert figure.inputs == (("4", "one"), ("8", "two"))

    folders = {"one": make.cohort("one", seeds=3).overlap, "two": make.cohort("two", seeds=4).overlap}
    inputs = [(label, folders[cohort]) for label, cohort in figure.inputs]
    table = tmp_path / "mine.parquet"
    tables.write_table(figure=figure.figure, input=inputs, out=table)
    assert pd.read_csv(tmp_path / "mine.csv")["fraction"].tolist() == [3, 6]

    outs = {name: tmp_path / f"mine.{name}" for name in ("svg", "pdf", "png", "caption")}
    style = {"palette": ["#0072B2", "#123456", "#009E73"]}
    drawings.write_figure(figure=figure.figure, table=table, style=style, **outs)
    assert "#123456" in outs["svg"].read_text()
    assert outs["caption"].read_text() == "There are 9 pairs.\n"


def test_an_added_figure_is_checked_by_what_it_declares(toy):
    with pytest.raises(StudyError, match="figure toy goes by k, but sweep some varies n_latents"):
        figure_of("toy", {"sweep": "some", "figure": None}, cohorts(a=4), {"some": sweep("a", fields=("n_latents",))})
    with pytest.raises(StudyError, match="figure toy needs one cohort a place, but sweep some has a and c at k 4"):
        figure_of("toy", {"sweep": "some", "figure": None}, cohorts(a=4, b=8, c=4), {"some": sweep("a", "b", "c")})
    with pytest.raises(StudyError, match="no figure of a cohort by that name"):
        figure_of("toy", {"cohort": "a", "figure": None}, cohorts(a=4), {})


def test_a_figure_of_what_fires_needs_a_cohort_for_which_that_is_measured():
    given = {"cohort": "one", "figure": "functional"}
    assert figure_of("mine", given, cohorts(one=4), {}, firing=["one"]).figure == "functional"
    with pytest.raises(StudyError, match=r"mine: figure functional needs .*; add one to firing\.cohorts"):
        figure_of("mine", given, cohorts(one=4), {}, firing=["other"])


def test_a_figure_of_substitution_needs_rows_to_measure_on():
    cohorts = {"one": SimpleNamespace(slug="one", pass_=None, seeds=(0, 1))}
    with pytest.raises(StudyError, match=r"draw\.pooling: cohort one has no activations .*; give it a pass"):
        figure_of("pooling", {"cohort": "one", "figure": None}, cohorts, {}, firing=[])


def test_a_consensus_needs_three_seeds():
    cohorts = {"one": SimpleNamespace(slug="one", pass_=None, seeds=(0, 1))}
    with pytest.raises(StudyError, match=r"draw\.consensus: cohort one has 2 seeds; a consensus needs at least 3"):
        figure_of("consensus", {"cohort": "one", "figure": None}, cohorts, {}, firing=[])


@pytest.mark.parametrize("figure", ["meta", "meta-depth"])
def test_a_figure_of_meta_saes_needs_meta_saes(figure: str):
    cohorts = {"one": SimpleNamespace(slug="one", pass_=SimpleNamespace(decoder_of=()), seeds=(0, 1))}
    with pytest.raises(StudyError, match=rf"draw\.{figure}: .* cohort one reads no decoder rows; name a cohort"):
        figure_of(figure, {"cohort": "one", "figure": None}, cohorts, {}, firing=[])


@pytest.mark.parametrize("kind", FIGURES.values(), ids=lambda kind: kind.name)
def test_every_declared_figure_has_its_modules_and_its_check(kind):
    assert FIGURES[kind.name] is kind
    assert callable(registry.load(kind.name, "table").table)
    assert callable(registry.load(kind.name, "drawing").draw)
    assert callable(registry.load(kind.name, "drawing").caption)
    assert kind.check in CHECKS
    assert set(kind.extra) <= set(get_args(registry.Extra))


def test_every_check_is_some_figures():
    assert set(CHECKS) == {kind.check for kind in FIGURES.values()}


@pytest.mark.parametrize("draws", ["cohort", "sweep", "stitch"])
def test_a_study_may_name_every_declared_kind_and_no_other(draws):
    for name in registry.names(draws):
        assert schema.check({draws: "x", "figure": name}, schema.definition(f"{draws}_figure"))["figure"] == name
    for name in ("heatmap", *(set(FIGURES) - set(registry.names(draws)))):
        with pytest.raises(StudyError, match="not possible here"):
            schema.check({draws: "x", "figure": name}, schema.definition(f"{draws}_figure"))


def test_an_unknown_figure_is_answered_with_the_nearest_name():
    with pytest.raises(StudyError, match="did you mean 'thresholds'"):
        registry.load("treshold", "table")


@pytest.mark.parametrize("module", ["sae_stability.figures.registry", "sae_stability.study.build"])
def test_reading_a_study_loads_no_heavy_library(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("numpy", "pandas", "pyarrow", "matplotlib", "seaborn", "torch")


@pytest.mark.parametrize(("step", "other"), [("tables", "drawings"), ("drawings", "tables")])
def test_tables_and_drawings_know_nothing_of_each_other(step, other):
    sources = sorted((PACKAGE / "figures" / step).glob("*.py"))
    assert len(sources) > len(FIGURES)
    assert [path.name for path in sources if f"figures.{other}" in path.read_text()] == []
