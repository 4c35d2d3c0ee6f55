"""The tables of scores and explanations hold what was planted: shared latents score 0.8, others and chance 0.5."""

import numpy as np
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import drawings, registry
from sae_stability.figures.tables import scored


def of(figure: str, inputs) -> pd.DataFrame:
    return registry.load(figure, "table").table(inputs)


def test_a_latents_score_is_its_mean_over_the_draws_that_are_scores(make, study_inputs):
    inputs = study_inputs(make, "score-sharers", seeds=2)
    path = scored.of_seeds(inputs, "scores")[1]
    table, _ = files.read_table(path)
    own = (table["explained_by"] == "own") & (table["latent"] == 3)
    table.loc[own, "balanced_accuracy"] = [0.6, 0.9]
    files.write_table(path, table)
    (row,) = scored.latents(inputs).query("seed == 1 and latent == 3 and explained_by == 'own'").to_dict("records")
    assert (row["score"], row["n"]) == (pytest.approx(0.75), 2)
    table.loc[own & (table["draw"] == 1), "status"] = "failed"
    files.write_table(path, table)
    (row,) = scored.latents(inputs).query("seed == 1 and latent == 3 and explained_by == 'own'").to_dict("records")
    assert (row["score"], row["n"]) == (pytest.approx(0.6), 1)


def test_shared_latents_score_higher_and_chance_does_not(study):
    table = of("score-sharers", study["score-sharers"])
    means = table[(table["row"] == "mean") & (table["series"] == "this run")].set_index(["explained_by", "shared_with"])
    for by, sharers, expected in (("own", 0, 0.5), ("own", 4, 0.8), ("shuffled", 0, 0.5), ("shuffled", 4, 0.5)):
        mean = means.loc[(by, sharers)]
        assert mean["score"] == pytest.approx(expected, abs=0.02)
        assert mean["low"] < mean["score"] < mean["high"]
    (chance,) = table[table["row"] == "chance"].to_dict("records")
    assert chance["high"] == pytest.approx(0.5 + 1.645 * 0.05, abs=0.02)


def test_scores_follow_similarity_and_partners_where_that_was_planted(study):
    found = of("score-similarity", study["score-similarity"]).query("row == 'correlation'").set_index("explained_by")
    assert found["low"]["own"] > 0.2 > abs(found["score"]["shuffled"])
    partner = of("score-partner", study["score-partner"])
    found = partner.query("row == 'correlation'").set_index("pairing")
    assert found["low"]["matched"] > 0.3 > abs(found["correlation"]["shuffled"])
    pairs = partner.query("row == 'pair'")
    assert (pairs["latent"] == pairs["counterpart"]).all()
    assert len(pairs) == 4 * 40
    assert (pairs["shared"] == (pairs["mean_cosine"] >= 0.7)).all()


def test_the_table_of_pairs_takes_one_extreme_pair_a_bin_with_both_explanations(study):
    inputs = study["pairs-table"]
    pairs, table = of("score-partner", inputs).query("row == 'pair'"), of("pairs-table", inputs)
    run = table[table["source"] == "trained"].set_index("bin")
    assert run["n"].sum() == len(pairs)
    low = pairs[pairs["mean_cosine"].between(0.2, 0.4, inclusive="left")]
    assert (run.loc[0.2, "score"] - run.loc[0.2, "score_counterpart"]) == pytest.approx(
        (low["score"] - low["score_counterpart"]).max()
    )
    high = pairs[pairs["mean_cosine"] >= 0.8]
    assert run.loc[0.8, ["score", "score_counterpart"]].sum() == pytest.approx(
        (high["score"] + high["score_counterpart"]).max()
    )
    assert set(run["explanation"]) == {'fires on "0", _any* <word>'}
    assert run["explanation_counterpart"].str.match(r'fires on "[1-4]"').all()


def test_markup_in_an_explanation_is_drawn_as_it_stands(study):
    picture, _ = drawings.draw("pairs-table", of("pairs-table", study["pairs-table"]), {})
    (axes,) = picture.axes
    drawn = " ".join(text.get_text() for text in axes.texts)
    assert 'fires on "0", _any* <word>' in drawn


def test_similarities_are_split_at_the_threshold(study):
    table = of("explanation-similarity", study["explanation-similarity"])
    means = table[(table["row"] == "mean") & (table["series"] == "this run")].set_index(["pairing", "above"])
    assert means["similarity"][("matched", "all")] == pytest.approx(0.8)
    assert means["similarity"][("unmatched", "yes")] == pytest.approx(0.5)
    assert means["n"][("best", "yes")] + means["n"][("best", "no")] == means["n"][("best", "all")] == 40


def test_the_firing_count_is_rate_times_rows(study):
    table = of("firing-similarity", study["firing-similarity"]).query("row == 'latent'")
    assert len(table) == 384
    assert table["fired"].between(100, 1000).all()
    assert set(table["n_rows"]) == {10_000}


def test_an_interval_needs_three_groups():
    values, groups = np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])
    assert np.isnan(scored.interval(values, groups, np.mean, "x")).all()
    low, high = scored.interval(values, np.arange(6), np.mean, "x")
    assert 0 < low < 2.5 < high < 5


def test_an_input_that_is_missing_is_named(make):
    folder = make.cohort("base").overlap
    with pytest.raises(StudyError, match=r"needs the tables of a cohort in scores/"):
        scored.of_seeds([("base", folder)], "scores")
