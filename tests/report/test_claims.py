"""Sentences appear with their condition and vanish with it."""

import itertools

import pandas as pd
import pytest

from sae_stability.report import claims
from sae_stability.report.evidence import Drawn, Evidence, gather
from tests.figures.conftest import Maker
from tests.report.conftest import FACTS


@pytest.fixture
def evidence(tmp_path):
    """Makes the evidence of a study whose base cohort is as the options say."""

    def make(facts: dict | None = None, figures: list[Drawn] = (), dead: float = 0.02, **options) -> Evidence:
        maker = Maker(tmp_path)
        base = maker.cohort("base", **{"seeds": 5, **options})
        evaluation = [("base", maker.evaluation("base", dead_fraction=dead))]
        given = FACTS | (facts or {})
        found = gather(study="s", base="base", facts=given, overlap=base.overlap, evaluation=evaluation, figure=[])
        return found._replace(figures=list(figures))

    return make


def said(found: Evidence) -> str:
    return " ".join([*itertools.chain(*claims.abstract(found)), *claims.may_claim(found)])


# What must be in a study's words, what changes it, and what takes the words away.
CONDITIONS = {
    "more than chance gives. Among": ({}, {"shared": 0.0}),
    "no evidence that two seeds find common features": ({"shared": 0.0}, {}),
    "You may not conclude, for these models, texts and budgets, that": ({"shared": 0.0}, {}),
    "Random dictionaries of the same shape": ({}, {"floor": False}),
    "chance is not ruled out": ({"floor": False}, {}),
    "Among latents that fire": ({}, {"live": False}),
    "With 5 seeds compared": ({}, {"seeds": 2}),
    "is one pair of seeds: its numbers have no spread": ({"seeds": 2}, {}),
    "10.0% of the base's latents never fire": ({"dead": 0.1}, {"dead": 0.02}),
    "5,000 times fewer": ({}, {"facts": {"base_tokens": 8_000_000_000}}),
    "400,000 distinct tokens read 4 times": ({}, {"facts": {"base_epochs": 1}}),
    "on activations of nobody/tiny": ({}, {"facts": {"models": []}}),
    "were made elsewhere": ({"facts": {"trained": 0, "external": 1, "base_tokens": None}}, {}),
}


@pytest.mark.parametrize("words", CONDITIONS)
def test_a_sentence_is_there_while_its_condition_holds(evidence, words: str):
    holds, fails = CONDITIONS[words]
    assert words in said(evidence(**holds))
    assert words not in said(evidence(**fails))


@pytest.mark.parametrize(
    ("fractions", "course"),
    [
        ([0.1, 0.2, 0.4], "rises from 10.0% to 40.0%"),
        ([0.4, 0.2, 0.1], "falls from 40.0% to 10.0%"),
        ([0.1, 0.5, 0.4], "goes, with turns between, from 10.0% to 40.0%"),
    ],
)
def test_the_course_of_a_sweep_is_told_as_it_is(evidence, fractions: list[float], course: str):
    rows = pd.DataFrame({"x": [8.0, 16.0, 32.0], "fraction": fractions})
    rows = rows.assign(source="trained", statistic="shared", latents="all")
    sweep = Drawn("k", rows, None)
    assert f"As k grows from 8 to 32, the shared part {course}." in said(evidence(figures=[sweep]))
    assert "3 places of the sweeps are one pair of seeds" in said(evidence(figures=[sweep]))
    single = Drawn("k", rows[:1], None)
    assert "As k grows" not in said(evidence(figures=[single]))
    assert "1 place of the sweeps is one pair of seeds" in said(evidence(figures=[single]))


def test_the_abstract_answers_about_the_consensus(evidence):
    rows = pd.DataFrame({"panel": ["curve"], "group": ["seed"], "x": [0], "value": [0.2], "cohort": ["base"]})
    assert "No latent is shared by two seeds of base" in said(evidence(figures=[Drawn("consensus", rows, None)]))


def test_unshared_latents_are_held_against_chance_and_against_the_best_control(evidence):
    scores = pd.DataFrame({"shared_with": [0, 0, 0, 0, 4], "score": [0.55, 0.65, 0.75, 0.85, 0.95]})
    scores = scores.assign(row="latent", source="trained", explained_by="own", n_others=4, n=2)
    chance = pd.DataFrame({"row": ["chance"], "source": ["floor"], "score": [0.5], "high": [0.7], "shared_with": [-1]})
    table = pd.concat([scores, scores.assign(row="mean"), chance]).assign(explainer="words", scorer="detection")
    sharers = Drawn("score-sharers", table, None)
    alone = said(evidence(figures=[sharers]))
    assert (
        "Of 4 latents that no other seed shares, 50.0% score above 0.70, below which 95% of chance scores lie." in alone
    )

    controls = pd.DataFrame(
        {
            "value": ["trained", "frozen", "frozen", "soft"],
            "x": [0.0, 1, 1, 2],
            "fraction": [0.9, 0.7, 0.9, 0.6],
            "scorer": "words/detection",
        }
    )
    controls = controls.assign(source="trained", statistic="balanced_accuracy", latents="live")
    beside = said(evidence(figures=[sharers, Drawn("controls", controls, None)]))
    assert "and 25.0% above 0.80, the mean score of the control that scores best (frozen)." in beside
    of_another = Drawn("controls", controls.assign(scorer="words/fuzzing"), None)
    assert "control that scores best" not in said(evidence(figures=[sharers, of_another]))
