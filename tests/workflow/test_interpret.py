"""Explaining and scoring in a real run: lexically, by sentence embeddings, and by a model behind a loopback server."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests import pages, tiny
from tests.interpret import server
from tests.workflow.conftest import Project, new_project

HEADINGS = {
    "pools/base/seed-0.parquet": "Pool: `pools/COHORT/seed-N.parquet`",
    "explanations/words/base/seed-0.parquet": "Explanations: `explanations/EXPLAINER/COHORT/`",
    "explanations/words/base/similarity.parquet": "Explanations: `explanations/EXPLAINER/COHORT/`",
    "scores/words/detection/base/seed-0.parquet": "Scores: `scores/EXPLAINER/SCORER/COHORT/`",
    "scores/none/intruder/base/seed-0.parquet": "Scores: `scores/EXPLAINER/SCORER/COHORT/`",
    "scores/words/detection/base/summary.parquet": "Scores: `scores/EXPLAINER/SCORER/COHORT/`",
}


@pytest.fixture(scope="module")
def chat():
    with server.serving() as chat:
        yield chat


@pytest.fixture(scope="module")
def project(tmp_path_factory, chat) -> Project:
    far = {**server.judge(chat), "key_variable": None}
    study = {
        "study": "interpreted",
        "models": {"tiny": {"name": "model"}},
        "corpora": {"stories": {"kind": "files", "paths": ["corpus.jsonl"]}},
        "tokens": {
            "stories": {
                "model": "tiny",
                "corpus": "stories",
                "context_length": 16,
                "heldout_tokens": 2000,
                "train_tokens": 1000,
            }
        },
        "passes": {"mlp": {"tokens": "stories", "hookpoints": ["layers.0.mlp"]}},
        "cohort_defaults": {"k": 2, "batch_size": 50, "warmup_steps": 2, "seeds_per_job": 2},
        "cohorts": {"base": {"pass": "mlp", "n_latents": 32, "init_seeds": [0, 1]}},
        "firing": {"cohorts": ["base"], "contexts": {"window": 8}},
        "interpret": {
            "cohorts": ["base"],
            "latents": 6,
            "draws": 2,
            "judges": {
                "words": {"kind": "lexical"},
                "sentences": {"kind": "embedding", "model": "tiny"},
                "far": {name: value for name, value in far.items() if name not in ("wait",)},
            },
            "explainers": ["words", "far"],
            "scorers": {
                "detection": {"kind": "detection", "judge": "words"},
                "intruder": {"kind": "intruder", "judge": "sentences"},
            },
            "similarity": "sentences",
        },
        "floor": {"repeats": 1},
    }
    project = new_project(tmp_path_factory.mktemp("interpreted") / "project", study)
    tiny.tiny_gpt_neox(project.folder / "model")
    tiny.tiny_corpus(project.folder)
    project.snakemake("scores")
    return project


def test_every_table_is_there_and_documented(project: Project):
    for file, heading in HEADINGS.items():
        listed = pages.column_types(pages.section(pages.FORMATS, heading))
        for field in pq.read_schema(project.folder / "results" / file):
            assert field.name in listed, f"{file}: {field.name}"
    found = set()
    for file in HEADINGS:
        found |= set(pq.read_schema(project.folder / "results" / file).names)
    for heading in set(HEADINGS.values()):
        assert set(pages.column_types(pages.section(pages.FORMATS, heading))) <= found


def test_latents_are_explained_and_scored(project: Project, chat):
    results = project.folder / "results"
    for explainer in ("words", "far"):
        table = pd.read_parquet(results / f"explanations/{explainer}/base/seed-0.parquet")
        assert len(table) == 6
        assert (table["status"] == "ok").any()
        scores = pd.read_parquet(results / f"scores/{explainer}/detection/base/seed-1.parquet")
        assert scores.loc[scores["status"] == "ok", "balanced_accuracy"].between(0, 1).all()
        assert (scores["status"] == "ok").any()
    assert chat.asked.total() == len(chat.asked) > 0


def test_a_change_makes_again_what_it_changes_and_buys_nothing_twice(project: Project, chat):
    before = chat.asked.total()
    assert project.dry("scores").nothing
    project.edit(lambda study: study["interpret"]["judges"]["far"].update(concurrency=1))
    assert project.dry("scores").nothing
    project.edit(lambda study: study["interpret"].update(draws=1))
    jobs = set(project.dry("scores").jobs)
    assert {name for name in jobs if name.startswith("score_")} == {
        "score_words_OF_detection_OF_base",
        "score_far_OF_detection_OF_base",
        "score_none_OF_intruder_OF_base",
        "score_summary",
    }
    assert not {name for name in jobs if name.startswith(("explain", "firing", "train", "match"))}
    # More latents: those already explained are not asked for again.
    project.edit(lambda study: study["interpret"].update(latents=8, draws=2))
    project.snakemake("scores")
    assert chat.asked.total() == len(chat.asked) <= before + 2 * 2
