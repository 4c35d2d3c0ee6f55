"""The overlap tables: counted by hand, against a plain reference, and on a cohort with known overlaps."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.match import overlap_tables, seed_counts
from sae_stability.match.assignment import match_rows
from sae_stability.sae.training.initial_weights import initial_weights

from .studies import TABLES, tables, write_planted_match


def evaluation(path, alive):
    write_table(path, pd.DataFrame({"latent": range(len(alive)), "rate": 0.5, "alive": alive}))
    return path


@pytest.fixture
def counted(tmp_path):
    """Six latents; 0 and 1 shared, 2 joint with another counterpart, 3 decoder only, 4 max only, 5 nothing.

    Latent 1 of A and latent 3 of B are dead.
    """
    match = write_planted_match(
        tmp_path / "0-1.parquet",
        0,
        1,
        counterpart_decoder=[5, 1, 2, 3, 4, 0],
        counterpart_encoder=[5, 1, 4, 3, 2, 0],
        cosine_decoder=[0.9, 0.8, 0.8, 0.7, 0.2, 0.1],
        cosine_encoder=[0.9, 0.7, 0.8, 0.3, 0.6, 0.1],
        best_decoder_cosine=[0.9, 0.8, 0.8, 0.7, 0.8, 0.2],
        best_encoder_cosine=[0.9, 0.7, 0.8, 0.3, 0.8, 0.2],
        alive=[True, False, True, True, True, True],
        alive_b=[True, True, True, False, True, True],
    )
    evaluations = {
        0: evaluation(tmp_path / "e0.parquet", [True, False, True, True, True, True]),
        1: evaluation(tmp_path / "e1.parquet", [True, True, True, False, True, True]),
    }
    overlap_tables.write_overlap(
        cohort="base", match=[match], latents=list(evaluations.items()), threshold=0.7, out=tmp_path / "out"
    )
    return tables(tmp_path / "out")


def test_every_fraction_over_all_latents_can_be_counted(counted):
    row = counted["pairs"].query("latents == 'all'").iloc[0]
    assert row["n"] == 6
    assert row["shared"] == pytest.approx(2 / 6)
    assert row["same_counterpart"] == pytest.approx(4 / 6)
    assert row["joint"] == pytest.approx(3 / 6)
    assert row["max"] == pytest.approx(4 / 6)
    assert row["decoder_only"] == pytest.approx(4 / 6)
    assert row["mean_cosine_decoder"] == pytest.approx(3.5 / 6)
    assert row["mean_best_decoder"] == pytest.approx(4.2 / 6)
    assert row["mutual_nearest"] == pytest.approx(5 / 6)
    assert row["gap_decoder"] == pytest.approx(4e-9 / 6)


def test_live_values_drop_dead_latents_and_dead_counterparts(counted):
    row = counted["pairs"].query("latents == 'live'").iloc[0]
    assert row["n"] == 5
    assert row["shared"] == pytest.approx(1 / 5)
    assert row["same_counterpart"] == pytest.approx(2 / 5)  # the counterpart of latent 3 is dead
    assert row["joint"] == pytest.approx(2 / 5)
    assert row["max"] == pytest.approx(3 / 5)
    assert row["decoder_only"] == pytest.approx(2 / 5)
    assert row["mean_cosine_decoder"] == pytest.approx(2.7 / 5)


def test_the_sweep_agrees_with_the_pairs_at_the_threshold(counted):
    pairs = counted["pairs"].set_index("latents")
    at = counted["thresholds"].query("abs(threshold - 0.7) < 1e-9").set_index("latents")
    for column in ("shared", "joint", "max"):
        assert at[column].to_dict() == pairs[column].to_dict()
    assert at["same"].to_dict() == pairs["same_counterpart"].to_dict()
    assert counted["thresholds"]["threshold"].nunique() == 51


def test_a_latent_of_the_second_sae_is_found_through_the_inverse_assignment(counted):
    latents = counted["latents"].set_index(["seed", "latent"])
    assert latents.query("shared_with == 1").index.tolist() == [(0, 0), (0, 1), (1, 1), (1, 5)]
    assert latents.loc[(1, 5), "mean_cosine"] == pytest.approx(0.9)
    assert latents.loc[(1, 4), "mean_cosine"] == pytest.approx((0.2 + 0.8) / 2)


def shared_partition(generator, seeds, n):
    """`shared[a][b][i]` for a random relation in which latents of equal concept are shared."""
    concepts = {seed: generator.permutation(2 * n)[:n] for seed in seeds}
    return concepts, {a: {b: np.isin(concepts[a], concepts[b]) for b in seeds if b != a} for a in seeds}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_only_in_base_and_exactly_m_equal_a_plain_count_over_all_combinations(count):
    generator = np.random.default_rng(count)
    seeds, n = list(range(count)), 30
    _, shared = shared_partition(generator, seeds, n)
    masks = [np.array([shared[a][b] for b in seeds if b != a]) for a in seeds]
    counted = [generator.random(n) < 0.8 for _ in seeds]
    only = seed_counts.only_in_base(masks, counted)
    exactly = seed_counts.in_exactly(masks, counted)
    for m in range(2, count + 1):
        plain = []
        for a in seeds:
            for others in combinations([b for b in seeds if b != a], m - 1):
                base = [i for i in range(n) if counted[a][i]]
                plain.append(sum(not any(shared[a][b][i] for b in others) for i in base) / len(base))
        assert only[m] == pytest.approx((np.mean(plain), np.std(plain), len(plain)))
    for m in range(1, count + 1):
        plain = []
        for a in seeds:
            base = [i for i in range(n) if counted[a][i]]
            plain.append(sum(1 + sum(shared[a][b][i] for b in seeds if b != a) == m for i in base) / len(base))
        assert exactly[m] == pytest.approx(plain)


def test_planted_latents_are_the_shared_ones(planted):
    _, _, orders, found = planted
    for (seed, latent), row in found["latents"].set_index(["seed", "latent"]).iterrows():
        place = orders[seed][latent]
        expected = 3 if place < 30 else 1 if place < 60 and seed in (1, 2) else 0
        assert row["shared_with"] == expected
        assert row["stability"] == pytest.approx(expected / 3)
        assert row["init_similarity_decoder"] == 0.25


def test_fractions_of_the_planted_cohort_are_known(planted):
    found = planted[3]
    pairs = found["pairs"].query("source == 'trained'").set_index(["a", "b", "latents"])["shared"]
    assert pairs[1, 2, "all"] == pytest.approx(60 / 120)
    assert pairs[1, 4, "all"] == pytest.approx(30 / 120)
    assert pairs[1, 4, "live"] == pytest.approx(20 / 120)
    seeds = found["seeds"].query("source == 'trained'").set_index(["latents", "statistic", "m"])
    assert seeds.loc[("all", "only_in_base", 4), "mean"] == pytest.approx((60 + 60 + 90 + 90) / 480)
    assert seeds.loc[("all", "in_exactly", 4), "mean"] == pytest.approx(30 / 120)
    assert seeds.loc[("all", "only_in_base", 2), "n"] == 12


def test_every_table_has_floors_and_live_values(planted):
    found = planted[3]
    for name in ("pairs", "thresholds", "seeds", "intervals"):
        kinds = set(found[name][["source", "latents"]].itertuples(index=False, name=None))
        assert kinds == {(s, k) for s in ("trained", "floor", "tied") for k in ("all", "live")}, name
    floor = found["pairs"].query("source == 'floor'")
    assert (floor["shared"] == 0).all()
    assert floor["mean_cosine_decoder"].between(0.2, 0.4).all()


def test_the_tied_floor_is_what_untrained_saes_give(planted):
    pairs = planted[3]["pairs"].query("latents == 'all'").set_index("source")
    assert (pairs.loc["tied", "same_counterpart"] == 1).all()
    assert (pairs.loc["floor", "same_counterpart"] < 0.1).all()
    assert pairs.loc["tied", "shared"].tolist() == pairs.loc["floor", "decoder_only"].tolist()
    a, b = (initial_weights(96, 24, seed, "layers.0.mlp") for seed in (0, 1))
    counterparts = [match_rows(a[side], b[side], threads=1).counterpart for side in ("encoder", "decoder")]
    assert (counterparts[0] == counterparts[1]).all()


def test_live_values_of_saes_evaluated_without_activations_are_nan(planted):
    root, call, _, _ = planted
    unevaluated = {}
    for seed, path in call["latents"]:
        unevaluated[seed] = root / f"unevaluated/{seed}.parquet"
        write_table(unevaluated[seed], read_table(path)[0].assign(rate=np.nan, alive=True))
    overlap_tables.write_overlap(**call | {"latents": list(unevaluated.items())}, out=root / "no-live")
    pairs = tables(root / "no-live")["pairs"].query("source == 'trained'").set_index("latents")
    assert pairs.loc["live", ["shared", "same_counterpart"]].isna().all(axis=None)
    assert (pairs.loc["live", "n"] == 0).all()
    assert pairs.loc["all", "shared"].notna().all()


def test_intervals_contain_the_mean_and_are_narrow_for_floors(planted):
    intervals = planted[3]["intervals"].query("statistic == 'mean_cosine_decoder'")
    assert (intervals["low"] <= intervals["mean"]).all()
    assert (intervals["mean"] <= intervals["high"]).all()
    width = (intervals["high"] - intervals["low"]).groupby(intervals["source"]).max()
    assert width["floor"] < width["trained"]


def test_unshared_random_latents_overlap_no_more_than_chance(planted):
    pairs = planted[3]["pairs"].query("source == 'trained' and latents == 'all' and a == 3")
    assert (abs(pairs["subspace_overlap"] - pairs["subspace_random"]) < 0.15).all()


def test_the_same_inputs_give_the_same_bytes(planted):
    root, call, _, _ = planted
    overlap_tables.write_overlap(**call, out=root / "again")
    for name in TABLES:
        assert (root / f"again/{name}.parquet").read_bytes() == (root / f"overlap/{name}.parquet").read_bytes()


def test_a_missing_pair_is_named(planted):
    root, call, _, _ = planted
    with pytest.raises(
        StudyError, match=r"make 6 pairs, each needed once; there are 5 match files, pair \(1, 3\) is missing"
    ):
        overlap_tables.write_overlap(**call | {"match": call["match"][:1] + call["match"][2:]}, out=root / "no")


def test_another_cohort_is_refused(planted):
    root, call, _, _ = planted
    with pytest.raises(StudyError, match="a match file is of cohort base"):
        overlap_tables.write_overlap(**call | {"cohort": "wide"}, out=root / "no")
