"""The jobs that explain and score."""

import json

import pytest

from sae_stability.pipeline import Pipeline, explain, figures, score, score_summary, similarity
from tests.pipeline.words import flags_of
from tests.study.test_interpret import config


@pytest.fixture
def pipeline(pipeline_of) -> Pipeline:
    return pipeline_of(config())


def test_a_cohort_is_one_job_of_each_explainer_and_scorer(pipeline: Pipeline):
    assert explain.jobs(pipeline) == [("words", "base", [0, 1, 2]), ("far", "base", [0, 1, 2])]
    assert score.jobs(pipeline) == [
        ("words", "detection", "base", [0, 1, 2]),
        ("far", "detection", "base", [0, 1, 2]),
        ("none", "intruder", "base", [0, 1, 2]),
    ]


def test_only_what_is_unfinished_is_made(pipeline: Pipeline):
    pipeline.unfinished["explain"] = [("far", "base", 2)]
    pipeline.unfinished["score"] = [("words", "detection", "base", 1)]
    (job,) = explain.jobs(pipeline)
    assert job == ("far", "base", [2])
    assert set(explain.inputs(pipeline, job)) == {
        *(f"results/contexts/base/seed-{seed}.parquet" for seed in (0, 2)),
        "results/matches/base/0-2.parquet",
    }
    assert explain.outputs(pipeline, job) == ["results/explanations/far/base/seed-2.parquet"]
    (job,) = score.jobs(pipeline)
    flags = flags_of(score.command(pipeline, job))
    # The negatives are windows in which no counterpart fires, so the contexts of all SAEs are read.
    assert flags["--contexts"] == [f"{seed}=results/contexts/base/seed-{seed}.parquet" for seed in (0, 1, 2)]
    assert flags["--out"] == ["1=results/scores/words/detection/base/seed-1.parquet"]
    assert flags["--explanations"] == ["1=results/explanations/words/base/seed-1.parquet"]


@pytest.mark.parametrize("stage", [explain, score])
def test_what_a_command_names_are_its_inputs_and_outputs(stage, pipeline: Pipeline):
    for job in stage.jobs(pipeline):
        flags = flags_of(stage.command(pipeline, job))
        named = {
            word.partition("=")[2]
            for flag in ("--contexts", "--pool", "--match", "--explanations", "--sae")
            for word in flags.get(flag, [])
        }
        files = stage.inputs(pipeline, job)
        assert len(files) == len(set(files))
        saes = {file.rpartition("/")[0] for file in files if "/saes/" in file}
        assert named == {file for file in files if "/saes/" not in file} | saes
        assert [word.partition("=")[2] for word in flags["--out"]] == stage.outputs(pipeline, job)
        assert len(flags["--config-hash"]) == len(flags["--out"])


def test_a_judge_is_named_with_its_model_and_the_folder_of_its_answers(pipeline: Pipeline):
    _, far = (flags_of(explain.command(pipeline, job)) for job in explain.jobs(pipeline))
    assert far["--answers"] == ["results/answers/far"]
    assert json.loads(far["--judge"][0])["url"] == "http://x/v1"
    intruder = flags_of(score.command(pipeline, score.jobs(pipeline)[2]))
    assert json.loads(intruder["--judge"][0]) == {
        "kind": "embedding",
        "model": "nobody/tiny",
        "revision": None,
        "sha256": None,
        "dtype": "float32",
    }
    assert intruder["--device"] == ["cpu"]
    assert "--explanations" not in intruder
    assert "--answers" not in intruder


def fingerprints(pipeline: Pipeline) -> dict:
    return {name: made for stage in (explain, score) for name, (_, made) in stage.results(pipeline).items()}


@pytest.mark.parametrize(
    ("setting", "value", "changes"),
    [
        ("concurrency", 2, False),
        ("budget_money", 3.0, False),
        ("prompt_price", 3.0, False),
        ("key_variable", "OTHER", False),
        ("timeout", 5, False),
        ("max_tokens", 7, True),
        ("temperature", 1, True),
        ("batch", 1, True),
        ("url", "http://y/v1", True),
        ("partial", True, True),
    ],
)
def test_only_settings_that_decide_an_answer_make_results_anew(setting, value, changes: bool, pipeline_of):
    study = config()
    before = fingerprints(pipeline_of(study))
    judges = study["interpret"]["judges"]
    judges = {**judges, "far": {**judges["far"], setting: value}}
    after = fingerprints(pipeline_of({**study, "interpret": {**study["interpret"], "judges": judges}}))
    changed = {name for name in before if before[name] != after[name]}
    # Tables of its explanations, and of the scores of these.
    assert changed == ({name for name in before if name[0] == "far"} if changes else set())


def test_an_added_seed_explains_one_sae_and_scores_all(pipeline_of):
    study = config()
    before = fingerprints(pipeline_of(study))
    study["cohorts"]["base"]["init_seeds"] = [0, 1, 2, 3]
    after = fingerprints(pipeline_of(study))
    same = {name for name in before if before[name] == after[name]}
    assert same == {name for name in before if len(name) == 3}


def test_all_that_is_made_is_a_target(pipeline: Pipeline):
    assert "results/explanations/far/base/seed-1.parquet" in explain.targets(pipeline)
    assert "results/explanations/far/base/similarity.parquet" in similarity.targets(pipeline)
    assert score_summary.targets(pipeline) == [
        f"results/scores/{names}/base/summary.parquet"
        for names in ("words/detection", "far/detection", "none/intruder")
    ]


def test_figures_read_the_first_explainer_and_scorer_and_follow_their_settings(pipeline_of):
    study = config()
    study["figures"] = {"draw": {name: {"cohort": "base"} for name in ("score-sharers", "explanation-similarity")}}
    pipeline = pipeline_of(study)
    scores, alike = pipeline.study.figures.values()
    read = figures.inputs(pipeline, scores)["explained"]
    assert read == [
        *(f"results/explanations/words/base/seed-{seed}.parquet" for seed in (0, 1, 2)),
        *(f"results/scores/words/detection/base/seed-{seed}.parquet" for seed in (0, 1, 2)),
        *(f"results/matches/base/0-{seed}.parquet" for seed in (1, 2)),
    ]
    assert figures.inputs(pipeline, alike)["similarity"] == ["results/explanations/words/base/similarity.parquet"]
    given = flags_of(figures.table_command(pipeline, scores))["--input"]
    assert given == ["base=results/overlap/base", *(f"base={file}" for file in read)]
    before = [pipeline.fingerprints.table(figure) for figure in (scores, alike)]
    study["interpret"] = {**study["interpret"], "draws": 2}
    after = pipeline_of(study)
    assert after.fingerprints.table(scores) != before[0]
    assert after.fingerprints.table(alike) == before[1]
