"""Synthetic studies with some figures, and what a paper about it is written from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sae_stability.figures import drawings, tables
from tests.figures.conftest import Maker, study_inputs

# A kind of figure for each section of results.
KINDS = ["joint", "seeds", "size", "controls", "functional", "score-sharers"]

FACTS = {
    "about": None,
    "device": "cpu",
    "floor_repeats": 2,
    "published": True,
    "trained": 2,
    "external": 0,
    "models": ["nobody/tiny"],
    "architectures": ["topk"],
    "base_tokens": 1_600_000,
    "base_epochs": 4,
    "alike": {"architecture": "topk"},
    "cohorts": {"base": {"k": "16"}, "wide": {"k": "32"}},
    "sources": [["model", "nobody/tiny", "0123abc", "weights of its files, float32"]],
    "explainers": ["lexical"],
    "scorers": ["detection"],
}


def draw(make: Maker, kind: str, slug: str, **options) -> tuple[str, Path]:
    """Make a figure of synthetic cohorts; returns its kind and its record."""
    folder = make.root / "figures"
    table = folder / f"{slug}.parquet"
    tables.write_table(figure=kind, input=study_inputs(make, kind, **options), out=table)
    files = {name: folder / f"{slug}.{name}" for name in ("svg", "pdf", "png")}
    record = folder / f"{slug}.json"
    drawings.write_figure(figure=kind, table=table, caption=folder / f"{slug}.rst", record=record, **files)
    return kind, record


def arguments(root: Path, kinds: list[str], **options) -> dict:
    """The arguments of `write_report` for a study with these figures; `options` go to every cohort."""
    drawn = [draw(Maker(root / kind), kind, kind, **options) for kind in kinds]
    base = Maker(root).cohort("base", **{"seeds": 5, **options})
    evaluation = [("base", Maker(root).evaluation(f"base-{seed}")) for seed in range(2)]
    return {
        **{"study": "synthetic", "base": "base", "facts": FACTS, "overlap": base.overlap, "evaluation": evaluation},
        **{"figure": drawn, "html": root / "report.html", "pdf": root / "report.pdf", "record": root / "report.json"},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    """The arguments for a study with a figure in every section."""
    return arguments(tmp_path_factory.mktemp("whole"), KINDS)


@pytest.fixture
def study_with(tmp_path) -> Callable[..., dict]:
    """Makes the arguments for a study with some figures."""
    return lambda *kinds, **options: arguments(tmp_path, list(kinds), **options)
