"""Every number that the project reports of a planted cohort is the planted one."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sae_stability.figures import registry
from sae_stability.files import read_json
from sae_stability.sae import load
from tests.planted.cohort import (
    COSINES,
    N_LATENTS,
    OWN,
    PAIRS,
    RATES,
    SEEDS,
    SPLIT_SEED,
    WORDS,
    D,
    PlantedCohort,
    make_cohort,
)

# Latents above the threshold between the first SAE and another, and between the other two (0.95² is above 0.7).
FOUND = int((COSINES == 0.95).sum())
STRONG = 4  # standard deviations of a sample that pass


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> PlantedCohort:
    return make_cohort(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_latents_and_fvu(cohort: PlantedCohort, seed: int):
    metrics = read_json(cohort.folder / "evaluation" / f"seed-{seed}.json")
    dead = cohort.kinds[seed] == "dead"
    assert metrics["dead_fraction"] == pytest.approx(dead.mean())
    latents = cohort.table("evaluation", f"seed-{seed}.parquet")
    assert np.array_equal(~latents["alive"], dead)
    if seed == 0:
        # All that the first SAE lacks: the own directions of the others, and the sides of the split.
        x = cohort.rows.astype(float)
        decoder = load(cohort.sae(0)).decoder.numpy().astype(float)[~dead]
        left = x - x @ decoder.T @ decoder
        assert metrics["fvu"] == pytest.approx((left**2).sum() / ((x - x.mean(0)) ** 2).sum(), abs=1e-3)


def test_overlap_finds_the_shared_latents_and_no_others(cohort: PlantedCohort):
    pairs = cohort.table("overlap", "pairs.parquet")
    for a, b in PAIRS:
        row = pairs[(pairs.source == "trained") & (pairs.a == a) & (pairs.b == b)].set_index("latents")
        # Two SAEs have the whole split direction.
        found = FOUND + (SPLIT_SEED not in (a, b))
        live = (cohort.kinds[a] != "dead").sum()
        assert row.shared["all"] == pytest.approx(found / N_LATENTS)
        assert row.shared["live"] == pytest.approx(found / live)
        assert row.joint["all"] == row["max"]["all"] == row.decoder_only["all"] == row.shared["all"]
        # The split adds the cosine of its best side; all other rows are orthogonal.
        split = 5**-0.5 if SPLIT_SEED in (a, b) else 1.0
        expected = (cohort.cosine(a, b).sum() + split) / N_LATENTS
        assert row.mean_cosine_decoder["all"] == pytest.approx(expected, abs=1e-5)
        assert row.mean_cosine_encoder["all"] == pytest.approx(expected, abs=1e-5)


def test_each_shared_latent_has_its_planted_cosine_and_counterpart(cohort: PlantedCohort):
    for a, b in PAIRS:
        match = cohort.table("matches", f"{a}-{b}.parquet").set_index("latent").loc[cohort.places[a]]
        assert np.array_equal(match.counterpart_decoder, cohort.places[b])
        assert np.array_equal(match.counterpart_encoder, cohort.places[b])
        assert np.allclose(match.cosine_decoder, cohort.cosine(a, b), atol=1e-5)


def test_seed_counts(cohort: PlantedCohort):
    counts = cohort.table("overlap", "seeds.parquet")
    counts = counts[(counts.source == "trained") & (counts.latents == "all")].set_index(["statistic", "m"])["mean"]
    # The first and the last SAE both have the whole split direction.
    with_split = 2 / len(SEEDS)
    assert counts["in_exactly", 3] == pytest.approx(FOUND / N_LATENTS)
    assert counts["in_exactly", 2] == pytest.approx(with_split / N_LATENTS)
    assert counts["only_in_base", 3] == pytest.approx((N_LATENTS - FOUND - with_split) / N_LATENTS)


def test_the_interval_holds_the_planted_mean(cohort: PlantedCohort):
    rows = cohort.table("overlap", "intervals.parquet")
    (row,) = rows[(rows.source == "trained") & (rows.latents == "all") & (rows.statistic == "shared")].itertuples()
    planted = (3 * FOUND + 1) / 3 / N_LATENTS
    assert row.mean == pytest.approx(planted)
    assert row.low <= planted <= row.high


def test_the_floor_is_that_of_random_dictionaries(cohort: PlantedCohort):
    pairs = cohort.table("overlap", "pairs.parquet")
    floor = pairs[(pairs.source == "floor") & (pairs.latents == "all")]
    rng, means = np.random.default_rng(5), []
    for _ in range(40):
        a, b = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in rng.standard_normal((2, N_LATENTS, D)))
        cosine = a @ b.T
        means.append(cosine[linear_sum_assignment(-cosine)].mean())
    assert np.abs(floor.mean_cosine_decoder - np.mean(means)).max() < STRONG * np.std(means)
    assert (floor.shared == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_rates_tokens_and_entropy(cohort: PlantedCohort, seed: int):
    firing = cohort.table("firing", f"seed-{seed}.parquet").set_index("latent").loc[cohort.places[seed]]
    n = len(cohort.tokens)
    assert np.array_equal(firing.fired, cohort.fires.sum(0))
    rates = firing.rate.to_numpy()[WORDS:]
    assert (np.abs(rates - RATES) < STRONG * np.sqrt(RATES * (1 - RATES) / n)).all()
    often = RATES * n > 100
    slope = np.polyfit(np.arange(len(RATES))[often], np.log2(rates[often]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)
    words = firing.iloc[:WORDS]
    assert np.array_equal(words.top_token, cohort.word_tokens)
    assert np.allclose(words.top_token_share, 1)
    assert np.allclose(words.token_entropy, 0)
    assert (firing.token_entropy.iloc[WORDS : WORDS + 3] > 2).all()


def test_shared_latents_fire_together_at_any_cosine(cohort: PlantedCohort):
    for a, b in PAIRS:
        table = cohort.table("cofiring", f"{a}-{b}.parquet")
        found = table[table.pairing == "decoder"].set_index("latent")
        shared = found.loc[cohort.places[a]]
        assert (shared.both == cohort.fires.sum(0)).all()
        assert np.allclose(shared.correlation, 1, atol=1e-3)
        assert np.allclose(shared[["jaccard", "document_jaccard"]], 1)
        others = found[(cohort.kinds[a] == "own")[found.index]]
        assert np.nanmax(np.abs(others.correlation)) < 0.2


def test_the_worth_of_a_counterpart_is_the_square_of_its_cosine(cohort: PlantedCohort):
    """The counterpart adds c a (c d + sqrt(1 - c²) w) in the place of a d, which leaves (1 - c²) of its square."""
    for b in SEEDS[1:]:
        table = cohort.table("substitution", "base", f"0-{b}.parquet").set_index("latent").loc[cohort.places[0]]
        assert np.allclose(table.quality, COSINES**2, atol=5e-3)
        assert np.array_equal(table.shared, COSINES > 0.7)
        other = table[table.random != table.counterpart]
        kind = cohort.kinds[b][other.random]
        # A second copy of what the first SAE has does harm, a dead latent nothing, and what it lacks does good.
        assert (other.floor_quality[kind == "shared"] < 0).all()
        assert np.allclose(other.floor_quality[kind == "dead"], 0, atol=1e-6)
        assert (other.floor_quality[kind == "own"] > 0).all()


def test_the_figure_of_substitution_gives_the_planted_quality(cohort: PlantedCohort):
    files = [("base", cohort.folder / "substitution" / "base" / f"0-{b}{part}.parquet")
             for b in SEEDS[1:] for part in ("", "-curve", "-pooling")]  # fmt: skip
    table = registry.load("substitution", "table").table(files)
    near = table[(table.panel == "cosine") & (table.group == "shared") & (table.a == "0") & (table.b == "1")]
    assert near.set_index("x").value.to_dict() == {0.95: pytest.approx(0.95**2, abs=5e-3)}
    below = table[(table.panel == "cosine") & (table.group == "unshared") & ((table.x - 0.6).abs() < 0.06)]
    assert np.allclose(below.value, 0.6**2, atol=5e-3)
    assert set(below.b) == {"1", "2"}


def test_pooling_finds_the_directions_that_the_first_sae_lacks(cohort: PlantedCohort):
    for b in SEEDS[1:]:
        fvu = cohort.table("substitution", "base", f"0-{b}-pooling.parquet").set_index("pool").fvu
        assert fvu["all unshared"] <= fvu["unshared"] < fvu["none"] - 0.005
        # Shared latents of B are ours and a direction that no row has; random directions hold little of any row.
        assert fvu["shared"] == pytest.approx(fvu["none"], abs=1e-4)
        assert fvu["unshared"] < fvu["random directions"] - 0.005


@pytest.mark.parametrize("seed", SEEDS)
def test_words_are_explained_by_the_word_and_chance_scores_by_chance(cohort: PlantedCohort, seed: int):
    contexts = cohort.table("contexts", f"seed-{seed}.parquet")
    explained = cohort.table("explanations", f"seed-{seed}.parquet").set_index("latent")
    scores = cohort.table("scores", f"seed-{seed}.parquet")
    scores = scores[(scores.status == "ok") & (scores.negatives == "random") & (scores.explained_by == "own")]
    mean = scores.groupby("latent").auroc.mean()
    for latent, token in zip(cohort.places[seed][:WORDS], cohort.word_tokens, strict=True):
        shown = contexts[(contexts.latent == latent) & (contexts.stratum == "top")]
        assert len(shown) > 0
        for row in shown.itertuples():
            fires = np.asarray(row.activations) > 0
            assert np.array_equal(fires, np.asarray(row.tokens) == token)
        piece = next(p for p, t in zip(row.pieces, row.tokens, strict=True) if t == token)
        assert piece.strip().lower() in explained.explanation[latent].lower()
        assert mean[latent] > 0.95
    by_chance = np.concatenate([cohort.places[seed][WORDS : WORDS + 3], np.flatnonzero(cohort.kinds[seed] == "own")])
    values = mean.reindex(by_chance).dropna()
    assert len(values) > OWN / 2
    assert abs(values.mean() - 0.5) < STRONG * values.std() / len(values) ** 0.5 + 0.02
