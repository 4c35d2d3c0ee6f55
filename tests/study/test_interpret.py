"""The section `interpret` of a study."""

import pytest

from sae_stability.study.build import Study
from tests.study_config import changed, message, small_config

SECTION = {
    "cohorts": ["base"],
    "judges": {
        "words": {"kind": "lexical"},
        "sentences": {"kind": "embedding", "model": "tiny"},
        "small": {"kind": "local", "model": "tiny"},
        "far": {"kind": "endpoint", "url": "http://x/v1", "model": "m"},
    },
    "explainers": ["words", "far"],
    "scorers": {
        "detection": {"kind": "detection", "judge": "words"},
        "intruder": {"kind": "intruder", "judge": "sentences"},
    },
    "similarity": "sentences",
}


def config() -> dict:
    return {**small_config(), "firing": {"cohorts": ["base"]}, "interpret": SECTION}


def broken(path: str, value: object) -> str:
    """The message for the study with one entry changed."""
    study = config()
    study["interpret"] = changed_section(study["interpret"], path, value)
    return message(study)


def changed_section(section: dict, path: str, value: object) -> dict:
    name, _, rest = path.partition(".")
    return {**section, name: changed_section(section.get(name, {}), rest, value) if rest else value}


def test_nothing_is_interpreted_by_default():
    interpret = Study.from_config(small_config()).interpret
    assert (interpret.cohorts, interpret.explainers, interpret.scores, interpret.similarity) == ((), (), [], None)


def test_every_explainer_is_scored_by_every_scorer_and_what_needs_none_once():
    interpret = Study.from_config(config()).interpret
    assert interpret.scores == [("words", "detection"), ("far", "detection"), ("none", "intruder")]
    assert interpret.judges["far"]["key_variable"] == "OPENAI_API_KEY"
    assert interpret.latents == 100


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("cohorts", ["bose"], "interpret.cohorts[0]: bose: no such entry; did you mean base?"),
        ("cohorts", ["size-32"], "interpret.cohorts[0]: size-32 has no contexts; add it to firing.cohorts"),
        ("explainers", ["sentences"], "sentences is of kind embedding, which cannot explain; kinds that can: lexical,"),
        ("explainers", ["word"], "interpret.explainers[0]: word: no such entry; did you mean words?"),
        (
            "scorers.intruder.judge",
            "words",
            "words is of kind lexical, which cannot answer for intruder; kinds that can",
        ),
        ("scorers.detection.judge", "nobody", "interpret.scorers.detection.judge: nobody: no such entry"),
        ("scorers.detection.kind", "simulation", "interpret.scorers.detection.kind"),
        ("similarity", "words", "words is of kind lexical; explanations are compared by a judge of kind embedding"),
        ("judges.small.model", "big", "interpret.judges.small.model: big: no such entry"),
        (
            "judges.none",
            {"kind": "lexical"},
            "interpret.judges.none: this name stands for no explainer; choose another",
        ),
        ("judges.far.key", "sk-1", "interpret.judges.far.key: unknown key; Allowed: kind, url, model, key_variable,"),
        ("judges.words.kind", "oracle", "interpret.judges.words.kind: oracle: no such kind"),
        ("judges.far", {"kind": "endpoint", "model": "m"}, "interpret.judges.far.url: missing"),
        ("draws", 0, "interpret.draws"),
        ("scored_windows", 3, "interpret.scored_windows"),
    ],
)
def test_a_mistake_is_said_with_its_place(path: str, value: object, words: str):
    assert words in broken(path, value)


@pytest.mark.parametrize("judge", ["sentences", "small"])
def test_a_model_with_random_weights_is_no_judge(judge: str):
    study = config()
    study["models"]["noise"] = {**study["models"]["tiny"], "weights": "random"}
    judges = {**SECTION["judges"], judge: {**SECTION["judges"][judge], "model": "noise"}}
    study["interpret"] = {**SECTION, "judges": judges}
    expected = f"interpret.judges.{judge}.model: noise has random weights, so it has no answers; name a trained model"
    assert message(study) == expected


def test_a_cohort_that_reads_no_text_is_refused(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.zeros((600, 32), np.float32))
    study = changed("passes.own", {"matrix": "rows.npy", "heldout_rows": 100, "train_rows": 500})
    study["cohorts"]["mine"] = {"pass": "own", "n_latents": 8, "k": 2, "batch_size": 10}
    study["firing"] = {"cohorts": ["mine"]}
    study["interpret"] = {"cohorts": ["mine"]}
    assert "interpret.cohorts[0]: mine reads no text, so there is nothing to explain; take it off" in message(study)


@pytest.mark.parametrize(
    ("figure", "section", "said"),
    [
        ("score-sharers", {"cohorts": []}, "add base to interpret.cohorts, and to firing.cohorts if it is not there"),
        ("pairs-table", {"explainers": []}, "name a judge in interpret.explainers and a scorer of kind detection"),
        ("explanation-similarity", {"similarity": None}, "name a judge of kind embedding in interpret.similarity"),
    ],
)
def test_a_figure_needs_the_explanations_that_it_draws(figure, section, said):
    study = config()
    study["figures"] = {"draw": {figure: {"cohort": "base"}}}
    study["interpret"] = {**SECTION, **section}
    text = message(study)
    assert f"figures.draw.{figure}: figure {figure} needs explanations of the latents of cohort base" in text
    assert said in text
