"""Which latents and windows are drawn."""

import numpy as np
import pytest

from sae_stability.files import read_table
from sae_stability.interpret.samples import NEAR, Draws, nearest, others, sample_groups, shown, spread
from sae_stability.interpret.tables import cohort_latents
from sae_stability.interpret.windows import RANDOM, Pool, Window
from sae_stability.sae.formats import own
from tests.interpret.synthetic import DEAD, RARE, Cohort


@pytest.fixture(scope="module")
def found(planted: Cohort):
    return cohort_latents(dict(planted.files("contexts")), planted.files("match"), 100, 0)


@pytest.fixture(scope="module")
def draws(planted: Cohort, found) -> Draws:
    groups, contexts = found
    pools = {seed: Pool(path) for seed, path in planted.files("pool")}
    near = {seed: nearest(own.arrays(path)["decoder"], groups.latents[seed], 3) for seed, path in planted.files("sae")}
    return Draws(contexts, pools, near, groups, 10, 0)


def test_groups_are_latents_that_fire_and_their_counterparts(planted: Cohort, found):
    groups, _ = found
    assert groups.latents[0].tolist() == [latent for latent in range(12) if latent != DEAD]
    for seed in planted.seeds[1:]:
        assert groups.latents[seed].tolist() == [planted.places[seed][latent] for latent in groups.latents[0]]


def test_more_latents_keep_the_fewer_ones():
    live = np.arange(0, 1000, 3)
    few, many = (set(sample_groups(live, {}, 0, count, 5).latents[0].tolist()) for count in (10, 50))
    assert few < many < set(live.tolist())
    assert few != set(sample_groups(live, {}, 0, 10, 6).latents[0].tolist())


def test_a_latent_without_a_counterpart_has_none():
    groups = sample_groups(np.arange(4), {1: np.array([2, -1, 0, 1])}, 0, 4, 0)
    assert groups.of(1) == [(0, 2), (2, 0), (3, 1)]
    assert groups.members(1) == [(0, 1)]


def test_matched_latents_have_the_same_random_negatives_and_none_fires_in_them(planted: Cohort, found, draws: Draws):
    groups, _ = found
    for group in range(len(groups)):
        for number in range(3):
            drawn = [draws.draw(seed, group, number).negatives[RANDOM] for seed, _ in groups.members(group)]
            assert all([some.text for some in one] == [some.text for some in drawn[0]] for one in drawn)
            places = {some.place for some in drawn[0]}
            assert len(places) == 10
            for seed, latent in groups.members(group):
                assert not places & Pool(dict(planted.files("pool"))[seed]).fires(latent)


def test_near_negatives_are_where_the_nearest_latent_fires(planted: Cohort, found, draws: Draws):
    groups, _ = found
    pool = Pool(planted.files("pool")[0][1])
    decoder = own.arrays(planted.files("sae")[0][1])["decoder"]
    for group in range(9):
        (neighbour, *_), *_ = nearest(decoder, groups.latents[0][[group]], 3)
        near = draws.draw(0, group, 0).negatives[NEAR]
        assert len(near) == 10
        assert {some.place for some in near} <= pool.fires(int(neighbour)) or neighbour >= RARE
        assert not {some.place for some in near} & pool.fires(group)


def test_no_window_is_of_a_block_that_explained_the_latent(found, draws: Draws):
    groups, contexts = found
    for seed in groups.latents:
        for group, latent in groups.of(seed):
            explained = shown(contexts[seed], latent, 20, 0)
            blocks = {some.place[0] for some in (*explained.positives, *explained.negatives)}
            for number in range(3):
                drawn = draws.draw(seed, group, number)
                scored = {some.place[0] for some in drawn.windows}
                assert scored
                assert not blocks & scored


def test_draws_differ_and_are_the_same_again(draws: Draws):
    assert draws.draw(0, 0, 0) == draws.draw(0, 0, 0)
    assert draws.draw(0, 0, 0).positives != draws.draw(0, 0, 1).positives
    assert draws.draw(0, 0, 0).negatives[RANDOM] != draws.draw(0, 0, 1).negatives[RANDOM]


def test_windows_are_spread_over_the_strata():
    windows = [Window((block, 0), "top", ("x",), (1.0,)) for block in range(20)]
    windows += [Window((20 + block, 0), f"decile-{block}", ("x",), (1.0,)) for block in range(1, 4)]
    some = spread(windows, 8, np.random.default_rng(0))
    assert sorted({window.stratum for window in some}) == ["decile-1", "decile-2", "decile-3", "top"]
    assert len({window.place for window in some}) == len(some) == 8
    assert len(spread(windows, 100, np.random.default_rng(0))) == 23


def test_the_nearest_latents_are_by_cosine_and_not_the_latent_itself():
    decoder = np.array([[1, 0], [2, 0.1], [0, 1], [-1, 0]], np.float32)
    assert nearest(decoder, np.array([0, 2]), 2).tolist() == [[1, 2], [1, 0]]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_everyone_gets_the_explanation_of_another(count: int):
    latents = list(range(100, 100 + count))
    partner = others(latents, 0)
    assert sorted(partner.values()) == sorted(partner) == (latents if count > 1 else [])
    assert all(latent != other for latent, other in partner.items())


def test_rare_latents_are_too_few_to_show(found):
    _, contexts = found
    assert not shown(contexts[0], RARE, 20, 0).enough
    assert shown(contexts[0], 0, 20, 0).enough


def test_the_synthetic_tables_have_the_planted_contexts(planted: Cohort):
    table, _ = read_table(planted.files("contexts")[0][1])
    assert set(table["latent"]) == set(range(12)) - {DEAD}
