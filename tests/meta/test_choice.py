"""Explanations chosen by the parts of latents, on topics that are planted."""

from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.files import read_table, write_table
from sae_stability.meta.choice import OPTIONS, choose_by_parts
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights
from tests import pages
from tests.interpret.server import prompt_of, serving

TOPICS, EACH = 6, 8


def weights(rows: np.ndarray) -> Weights:
    rows = rows.astype(np.float32)
    return Weights(rows, rows, np.zeros(len(rows), np.float32), np.zeros(rows.shape[1], np.float32), "relu")


def chosen(folder: Path, *, shuffled: bool = False) -> pd.DataFrame:
    """Each latent is one of six directions and is explained by a word of its direction; the meta-SAE has these."""
    truth = np.eye(TOPICS)
    topics = np.tile(np.arange(TOPICS), EACH)
    formats.write(folder / "base", weights(truth[topics]), "own")
    formats.write(folder / "meta", weights(truth), "own")
    words = np.random.default_rng(0).permutation(topics) if shuffled else topics
    said = {"latent": np.arange(len(topics)), "explanation": [f'fires on "word{topic}"' for topic in words]}
    status = np.where(np.arange(len(topics)) == 3, "too_rare", "ok")
    write_table(folder / "said.parquet", pd.DataFrame(said | {"status": status}))
    choose_by_parts(
        explanations=folder / "said.parquet",
        sae=folder / "base",
        meta=[(0, folder / "meta")],
        judge={"kind": "lexical"},
        out=folder / "choice.parquet",
    )
    return read_table(folder / "choice.parquet")[0]


def test_the_parts_tell_which_explanation_is_the_latents(tmp_path: Path):
    table = chosen(tmp_path)
    asked = table[table.status == "ok"]
    assert len(table) == TOPICS * EACH == len(asked) + 1
    assert (asked.n_parts == 1).all()
    # Another option may be of the same topic, and then either is as good.
    same = asked.chosen % TOPICS == asked.latent % TOPICS
    assert same.all()
    assert asked.correct.mean() > 0.5
    assert table.correct.equals(table.chosen == table.latent)


def test_explanations_of_other_latents_are_chosen_as_chance_does(tmp_path: Path):
    asked = chosen(tmp_path, shuffled=True).query("status == 'ok'")
    assert abs(asked.correct.mean() - 1 / OPTIONS) < 3 * np.sqrt(0.16 / len(asked))


def test_what_cannot_be_asked_is_a_status(tmp_path: Path):
    rare = chosen(tmp_path).loc[3]
    assert (rare.status, rare.chosen, rare.correct) == ("too_rare", -1, False)
    few = read_table(tmp_path / "said.parquet")[0]
    few.loc[4:, "status"] = "refused"
    write_table(tmp_path / "said.parquet", few)
    places = {"sae": tmp_path / "base", "meta": [(0, tmp_path / "meta")], "out": tmp_path / "few.parquet"}
    choose_by_parts(explanations=tmp_path / "said.parquet", judge={"kind": "lexical"}, **places)
    table, metadata = read_table(tmp_path / "few.parquet")
    assert metadata["options"] == OPTIONS
    assert table.status.value_counts().to_dict() == {"refused": 44, "no_explanation": 3, "too_rare": 1}


def test_a_judge_that_fails_is_a_status(tmp_path: Path):
    """An endpoint that refuses every other question."""
    chosen(tmp_path)
    few = read_table(tmp_path / "said.parquet")[0]
    few.loc[18:, "status"] = "refused"
    write_table(tmp_path / "said.parquet", few)
    places = {"sae": tmp_path / "base", "meta": [(0, tmp_path / "meta")], "out": tmp_path / "some.parquet"}
    with serving() as chat:
        chat.behave = lambda body, before: ("refused", "rejected", "ok")[sum(map(ord, prompt_of(body))) % 3]
        endpoint = {"kind": "endpoint", "url": chat.url, "model": "m", "key_variable": None}
        choose_by_parts(explanations=tmp_path / "said.parquet", judge=endpoint, answers=tmp_path / "answers", **places)
    table = read_table(tmp_path / "some.parquet")[0]
    failed = table[table.chosen < 0]
    assert not failed.correct.any()
    assert set(failed.status[:18]) <= {"refused", "failed", "no_explanation", "too_rare"}
    assert set(failed.reason) <= {"", "rejected"}
    assert chat.done["refused"] + chat.done["rejected"] > 0


def test_the_pages_name_every_column(tmp_path: Path):
    section = pages.section(pages.FORMATS, "Meta-SAEs: `meta/COHORT/`")
    assert pages.columns_of_each(section, "file")["choice.parquet"] == set(chosen(tmp_path).columns)
