"""Scores of a planted cohort: high where they should be, one half where they should be."""

import json

import numpy as np
import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.files import read_metadata, read_table, write_table
from sae_stability.interpret.score import score_latents
from sae_stability.interpret.summary import summarise_scores
from tests.interpret import server, verbs
from tests.interpret.server import KEY
from tests.interpret.synthetic import RARE

MEASURES = ["balanced_accuracy", "auroc", "f1"]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TESTED_KEY", KEY)
    with server.serving() as chat:
        yield chat


def mean(table: pd.DataFrame, explained_by: str, negatives: str) -> float:
    some = table[(table["explained_by"] == explained_by) & (table["negatives"] == negatives)]
    return some["balanced_accuracy"].mean()


def test_planted_words_score_high_and_shuffled_ones_as_chance(planted, tmp_path):
    verbs.explain(planted, tmp_path)
    for table in verbs.score(planted, tmp_path).values():
        for negatives in ("random", "near"):
            assert mean(table, "own", negatives) > 0.75
            assert 0.35 < mean(table, "shuffled", negatives) < 0.65
    for table in verbs.score(planted, tmp_path, "fuzzing").values():
        assert mean(table, "own", "marks") > 0.9
        assert 0.35 < mean(table, "shuffled", "marks") < 0.65


def test_rows_are_complete(planted, tmp_path):
    verbs.explain(planted, tmp_path)
    table = verbs.score(planted, tmp_path)[1]
    rows = table.groupby(["explained_by", "draw", "negatives"]).size()
    # Eleven latents; the rare one has no explanation to give away.
    assert rows.to_dict() == {
        **{("own", draw, name): 11 for draw in range(3) for name in ("random", "near")},
        **{("shuffled", 0, name): 10 for name in ("random", "near")},
    }
    rare = table[table["first_latent"] == RARE]
    assert set(rare["status"]) == {"too_rare"}
    assert rare[MEASURES].isna().all(axis=None)
    good = table[table["status"] == "ok"]
    assert (good["n_positive"] == 10).all()
    assert (good["n_unanswered"] == 0).all()
    assert good[MEASURES].notna().all(axis=None)


def test_an_endpoint_that_answers_well_scores_one(planted, tmp_path, chat):
    judge, answers = server.judge(chat), tmp_path / "answers"
    explained = verbs.explain(planted, tmp_path, judge, answers=answers)
    assert explained[0]["explanation"][0] == "the word river"
    for kind in ("detection", "fuzzing", "intruder"):
        for table in verbs.score(planted, tmp_path, kind, judge, draws=2, answers=answers).values():
            good = table[(table["status"] == "ok") & (table["explained_by"] != "shuffled")]
            assert len(good) == {"detection": 40, "fuzzing": 20, "intruder": 20}[kind]
            assert (good["balanced_accuracy"] == 1).all()
    assert set(verbs.score(planted, tmp_path, "intruder", judge, answers=answers)[0]["explained_by"]) == {"none"}
    assert chat.asked.total() == len(chat.asked)


def texts_of(prompt: str) -> set[str]:
    """The texts in a stored prompt, without marks."""
    found = set()
    for line in prompt.splitlines():
        _, dot, rest = line.partition(". ")
        if dot and rest.startswith('"'):
            text, _ = json.JSONDecoder().raw_decode(rest)
            found.add(text.replace("<<", "").replace(">>", ""))
    return found


@pytest.mark.parametrize("latent", [0, 3, 9])
def test_no_stored_prompt_scores_a_latent_on_a_block_that_explained_it(planted, tmp_path, chat, latent: int):
    """By the prompts that are kept. One latent alone has an explanation, so that none is shuffled."""
    judge, answers = server.judge(chat, batch=3), tmp_path / "answers"
    verbs.explain(planted, tmp_path, judge, answers=answers)
    blocks = {" ".join(sentence): number for number, sentence in enumerate(planted.sentences)}
    explained = {}
    for seed, path in verbs.outputs(planted, tmp_path / "explanations"):
        table, metadata = read_table(path)
        row = table[table["first_latent"] == latent].iloc[0]
        stored = json.loads((answers / row["prompt_sha256"][:2] / f"{row['prompt_sha256']}.json").read_text())
        explained[f"seed {seed}"] = {blocks[text] for text in texts_of(server.prompt_of(stored["body"]))}
        status = np.where(table["first_latent"] == latent, "ok", "failed")
        write_table(path, table.assign(explanation=f"seed {seed}", status=status), metadata)
    before = set(answers.rglob("*.json"))
    chat.behave = lambda body, before: "unparsed"
    for kind in ("detection", "fuzzing"):
        verbs.score(planted, tmp_path, kind, judge, answers=answers)
    scored: dict[str, set[int]] = {name: set() for name in explained}
    for path in set(answers.rglob("*.json")) - before:
        prompt = server.prompt_of(json.loads(path.read_text())["body"])
        name = json.loads(prompt.partition("said of a neuron: ")[2].partition("\n")[0])
        scored[name] |= {blocks[text] for text in texts_of(prompt)}
    for name, found in explained.items():
        assert len(found) == 32  # 20 in which it fires, 12 in which not
        assert len(scored[name]) > 50
        assert not found & scored[name]


FAILING = [
    ("unparsed", "unparsed", ""),
    ("refused", "refused", ""),
    ("null", "failed", "empty"),
    ("length", "failed", "truncated"),
    ("cut", "failed", "truncated"),
    ("limited", "failed", "rate_limited"),
    ("gateway", "failed", "timed_out"),
    ("overloaded", "failed", "server_error"),
    ("rejected", "failed", "rejected"),
    ("no credit", "failed", "no_credit"),
]


@pytest.mark.parametrize(("action", "status", "reason"), FAILING)
def test_a_failure_is_a_status_in_both_tables_and_never_a_score(planted, tmp_path, chat, action, status, reason):
    judge = server.judge(chat, partial=True, tries=2)
    files = {"latents": 3}
    chat.behave = lambda body, before: action
    table = verbs.explain(planted, tmp_path, judge, answers=tmp_path / "a", **files)[0]
    failed = table[table["status"] != "too_rare"]
    assert set(zip(failed["status"], failed["reason"], strict=True)) == {(status, reason)}
    assert set(failed["explanation"]) == {""}
    verbs.explain(planted, tmp_path, **files)
    scores = verbs.score(planted, tmp_path, "detection", judge, draws=1, answers=tmp_path / "b", **files)[0]
    failed = scores[scores["status"] != "too_rare"]
    assert len(failed) >= 8
    assert set(zip(failed["status"], failed["reason"], strict=True)) == {(status, reason)}
    assert failed[MEASURES].isna().all(axis=None)
    assert (failed["n_unanswered"] == 20).all()
    summarise_scores(scores=verbs.outputs(planted, tmp_path / "detection"), out=tmp_path / "summary.parquet")
    summary, _ = read_table(tmp_path / "summary.parquet")
    assert (summary[f"n_{status}"] > 0).all()
    assert (summary["n_ok"] == 0).all()
    assert summary["balanced_accuracy"].isna().all()
    assert set(read_metadata(tmp_path / "detection/seed-0.parquet")["outcomes"]) == {reason or status}


def test_a_few_unanswered_texts_are_counted_and_many_give_no_score(planted, tmp_path, chat):
    verbs.explain(planted, tmp_path, latents=3)
    hit = []

    def one_text_fails(body, before):
        prompt = server.prompt_of(body)
        # One text of each latent and draw at most: batches of one text, and one in 17 prompts fails.
        fails = sum(map(ord, prompt)) % 17 == 0
        hit.append(fails)
        return "rejected" if fails else "ok"

    chat.behave = one_text_fails
    judge = server.judge(chat, batch=1)
    table = verbs.score(planted, tmp_path, "detection", judge, answers=tmp_path / "a", latents=3)[0]
    assert any(hit)
    for row in table[table["status"] != "too_rare"].itertuples():
        assert row.n_positive + row.n_negative + row.n_unanswered == 20
        answered = min(row.n_positive, row.n_negative) >= 9
        assert (row.status, row.reason) == (("ok", "") if answered else ("failed", "rejected"))
        assert np.isnan(row.auroc) != answered


def test_the_summary_has_means_intervals_spread_and_chance(planted, tmp_path):
    verbs.explain(planted, tmp_path)
    tables = verbs.score(planted, tmp_path)
    summarise_scores(scores=verbs.outputs(planted, tmp_path / "detection"), out=tmp_path / "summary.parquet")
    summary = read_table(tmp_path / "summary.parquet")[0].set_index(["seed", "explained_by", "negatives"])
    for seed, table in tables.items():
        good = table[table["status"] == "ok"]
        own = good[(good["explained_by"] == "own") & (good["negatives"] == "random")]
        row = summary.loc[seed, "own", "random"]
        per_latent = own.groupby("latent")["auroc"].mean()
        assert row["auroc"] == pytest.approx(per_latent.mean())
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
        spread = own.groupby("latent")["auroc"].var().mean() ** 0.5
        assert row["auroc_draw_spread"] == pytest.approx(spread)
        chance = good[(good["explained_by"] == "shuffled") & (good["negatives"] == "random")]["balanced_accuracy"]
        assert row["chance_95"] == pytest.approx(np.quantile(chance, 0.95))
        above = own.groupby("latent")["balanced_accuracy"].mean() > row["chance_95"]
        assert row["above_chance"] == pytest.approx(above.mean())
        assert (row["n_ok"], row["n_too_rare"], row["n_scored"]) == (30, 3, 10)


def test_explanations_of_other_latents_are_refused(planted, tmp_path):
    verbs.explain(planted, tmp_path, latents=4)
    with pytest.raises(StudyError, match=r"seed-0.parquet: explains other latents than are to be scored; delete it"):
        verbs.score(planted, tmp_path)


def test_a_missing_match_is_said_in_a_line(planted, tmp_path):
    verbs.explain(planted, tmp_path)
    files = {name: planted.files(name) for name in ("contexts", "pool", "sae")}
    out = verbs.outputs(planted, tmp_path / "out")
    with pytest.raises(StudyError, match="--match: seed 1 is missing; give match of every seed"):
        score_latents(**files, out=out, kind="intruder", judge={"kind": "lexical"})


def test_a_dry_run_writes_nothing_and_asks_nothing(planted, tmp_path, chat, monkeypatch):
    monkeypatch.delenv("TESTED_KEY")
    files = {"contexts": planted.files("contexts"), "match": planted.files("match")}
    verbs.explain(planted, tmp_path)
    explanations = verbs.outputs(planted, tmp_path / "explanations")
    more = {name: planted.files(name) for name in ("pool", "sae")} | {"explanations": explanations}
    out = verbs.outputs(planted, tmp_path / "out")
    judge = server.judge(chat, prompt_price=1000.0)
    words = score_latents(**files, **more, out=out, kind="detection", judge=judge, answers=tmp_path / "a", dry_run=True)
    # Ten latents of three SAEs: three draws and a shuffled one, of 30 texts in calls of 5.
    assert "tested at http://127.0.0.1" in words
    assert "720 calls to make, 0 answered before" in words
    assert "cost at most about" in words
    assert chat.asked.total() == 0
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "a").exists()
