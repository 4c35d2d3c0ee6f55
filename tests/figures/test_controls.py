"""The figure of controls: its table, what it says is left of each claim, and which cohorts it takes."""

from types import SimpleNamespace

import pytest

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import drawings, registry
from sae_stability.figures.control_words import beside_controls, verdicts, what_is_left
from sae_stability.figures.selection import rows_where
from sae_stability.figures.summary import summary
from sae_stability.interpret.samples import NEAR
from sae_stability.study.figures import figure_of
from sae_stability.study.parts import Point, Sweep
from tests.figures.conftest import pair_row


def table_of(inputs):
    return registry.load("controls", "table").table(inputs)


def folder_of(make, name: str, *shared: float):
    rows = [pair_row(0, b + 1, "trained", latents, 8, value) for b, value in enumerate(shared) for latents in LATENTS]
    return make.pairs(name, [row | {"cohort": name} for row in rows])


LATENTS = ("all", "live")


def test_the_table_has_pairs_fvus_and_scores_at_the_place_of_their_cohort(make):
    inputs = [("trained", folder_of(make, "base", 0.3, 0.4)), ("frozen", folder_of(make, "held", 0.0))]
    inputs += [("held", make.evaluation("held/seed-1", fvu=0.25)), ("base", make.evaluation("base/seed-0", fvu=0.125))]
    scores = make.scores("detection", "held", 1)
    table = table_of([*inputs, ("lexical/detection/held", scores)])
    shared = rows_where(table, statistic="shared", latents="all")
    assert shared[["value", "x", "fraction"]].values.tolist() == [
        ["trained", 0, 0.3],
        ["trained", 0, 0.4],
        ["frozen", 1, 0],
    ]
    fvu = rows_where(table, statistic="fvu")
    assert fvu[["value", "a", "fraction", "n"]].values.tolist() == [
        ["trained", "0", 0.125, 1000],
        ["frozen", "1", 0.25, 1000],
    ]
    raw, _ = files.read_table(scores)
    raw = raw[(raw["status"] == "ok") & (raw["negatives"] != NEAR)]
    for source, by in (("trained", "own"), ("shuffled", "shuffled")):
        (row,) = rows_where(table, statistic="balanced_accuracy", source=source).to_dict("records")
        expected = raw[raw["explained_by"] == by].groupby("latent")["balanced_accuracy"].mean()
        assert row["fraction"] == pytest.approx(expected.mean())
        assert (row["n"], row["a"], row["x"], row["scorer"]) == (19, "1", 1, "lexical/detection")


def test_a_score_of_a_cohort_without_overlap_tables_is_refused(make):
    given = [("trained", folder_of(make, "base", 0.3)), ("x/y/other", make.scores("detection", "other", 0))]
    with pytest.raises(StudyError, match="cohort other has no overlap tables"):
        table_of(given)


@pytest.mark.parametrize(
    ("base", "held", "fvus", "expected"),
    [
        ((0.3, 0.4), (0.1,), (0.1, 0.2), ["better than every control"] * 3),
        ((0.3, 0.4), (0.35,), (0.2, 0.1), ["no better than frozen"] * 3),
        # Beyond the mean, but not beyond the spread; and equal.
        ((0.3, 0.5), (0.3,), (0.1, 0.1), ["no better than frozen"] * 3),
    ],
)
def test_a_claim_stands_where_the_base_is_better_beyond_the_spread(make, base, held, fvus, expected):
    inputs = [("trained", folder_of(make, "base", *base)), ("frozen", folder_of(make, "held", *held))]
    inputs += [(c, make.evaluation(f"{c}/seed-0", fvu=fvu)) for c, fvu in zip(("base", "held"), fvus, strict=True)]
    table = table_of(inputs)
    *found, scores = verdicts(table)
    assert [clause.rpartition("), ")[2] for clause in found] == expected
    assert found[2].startswith(f"Reconstruction (FVU, lower is better): trained {fvus[0]:.3f} (n = 1), ")
    assert scores == "Scores: not measured"
    heading, (trained, frozen) = beside_controls(table)
    assert heading == ["cohort", "Sharing", "Sharing among live latents", "Reconstruction (FVU, lower is better)"]
    assert (trained[0], frozen[0]) == ("trained", "frozen")
    assert trained[3] == f"{fvus[0]:.3f} (n = 1)"
    # In bold, what does as well as the base.
    assert [cell.startswith("**") for cell in frozen[1:]] == ["no better" in verdict for verdict in expected]


def test_the_summary_says_what_the_controls_leave(make, tmp_path):
    base, held = make.cohort("base"), make.cohort("held")  # which shares as much
    table = table_of([("trained", base.overlap), ("frozen_", held.overlap)])
    path = tmp_path / "controls.parquet"
    files.write_table(path, table)
    given = {"study": "s", "base": "base", "overlap": [("base", base.overlap)]}
    text = summary(**given, controls=[path])
    assert what_is_left(table) in text
    assert r"frozen\_" in text
    assert "What the controls leave" not in summary(**given)


def cohort(slug: str, control: str | None = None, pass_: str = "p") -> SimpleNamespace:
    return SimpleNamespace(slug=slug, control=control, pass_=pass_, seeds=(0, 1))


@pytest.mark.parametrize(
    ("cohorts", "fault"),
    [
        ([cohort("a"), cohort("b", "untrained"), cohort("c", None, "random-model")], None),
        ([cohort("a"), cohort("b")], "has b, which sets no `control` and reads the same as a"),
        ([cohort("a", "untrained"), cohort("b")], "begins with a, a control itself"),
        ([cohort("a")], "has a alone"),
    ],
)
def test_every_cohort_but_the_base_must_be_a_control(cohorts, fault):
    sweep = Sweep("some", None, (), tuple(Point(c.slug, {"cohort": c.slug.upper()}) for c in cohorts))
    arguments = ("controls", {"sweep": "some", "figure": None}, {c.slug: c for c in cohorts}, {"some": sweep})
    if fault is None:
        assert figure_of(*arguments).inputs == (("A", "a"), ("B", "b"), ("C", "c"))
    else:
        with pytest.raises(StudyError, match=f"holds its first cohort against controls.*but sweep some {fault}"):
            figure_of(*arguments)


def test_more_scorers_than_colours_are_told_apart_by_shape(make):
    inputs = [("trained", folder_of(make, "base", 0.3)), ("frozen", folder_of(make, "held", 0.0))]
    scores = [(f"e/s{n}/base", make.scores(f"s{n}", "base", 0)) for n in range(8)]
    picture, _ = drawings.draw("controls", table_of(inputs + scores), {})
    (key,) = picture.legends
    looks = [(mark.get_color(), mark.get_marker()) for mark in key.legend_handles][-8:]
    assert len(set(looks)) == 8
