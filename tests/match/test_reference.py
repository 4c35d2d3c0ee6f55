"""Every statistic of the overlap tables against a plain computation from the dictionaries."""

from itertools import product

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.linalg import subspace_angles
from scipy.optimize import linear_sum_assignment

from sae_stability.files import read_table
from sae_stability.match import intervals, subspace

THRESHOLD = 0.7


def plain_pair(call, a, b):
    """Cosines and assignments of both sides, and alive flags, by dense float64 and scipy."""
    found = {}
    for side in ("encoder", "decoder"):
        rows = [load_file(dict(call["sae"])[seed] / "sae.safetensors")[side].astype(np.float64) for seed in (a, b)]
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows]
        cosine = unit[0] @ unit[1].T
        found[side] = (cosine, linear_sum_assignment(cosine, maximize=True)[1])
    return found, [read_table(dict(call["latents"])[seed])[0]["alive"].to_numpy() for seed in (a, b)]


def plain_statistics(found, alive, latents):
    """The columns of `pairs`, latent by latent."""
    live_a, live_b = alive if latents == "live" else (np.ones_like(x) for x in alive)
    (encoder, to_encoder), (decoder, to_decoder) = found["encoder"], found["decoder"]
    base, n = np.flatnonzero(live_a), live_a.sum()
    passed = dict.fromkeys(("shared", "same_counterpart", "joint", "max", "decoder_only", "mutual_nearest"), 0)
    for i in base:
        e, d = to_encoder[i], to_decoder[i]
        best_e, best_d = encoder[i].argmax(), decoder[i].argmax()
        passed["same_counterpart"] += e == d and live_b[d]
        passed["shared"] += e == d and live_b[d] and min(encoder[i, e], decoder[i, d]) >= THRESHOLD
        passed["joint"] += live_b[d] and live_b[e] and min(encoder[i, e], decoder[i, d]) >= THRESHOLD
        passed["max"] += live_b[best_d] and live_b[best_e] and min(encoder[i, best_e], decoder[i, best_d]) >= THRESHOLD
        passed["decoder_only"] += live_b[d] and decoder[i, d] >= THRESHOLD
        passed["mutual_nearest"] += (
            live_b[best_d] and decoder[:, best_d].argmax() == i and decoder[i, best_d] >= THRESHOLD
        )
    values = {name: count / n for name, count in passed.items()}
    for side, (cosine, to) in found.items():
        values[f"mean_cosine_{side}"] = np.mean([cosine[i, to[i]] for i in base])
        values[f"mean_best_{side}"] = np.mean([max(cosine[i]) for i in base])
        values[f"mean_best_{side}_reverse"] = np.mean([max(cosine[:, j]) for j in np.flatnonzero(live_b)])
    return values


def test_every_column_of_pairs_equals_a_plain_computation(planted):
    _, call, _, found = planted
    rows = found["pairs"].query("source == 'trained'").set_index(["a", "b", "latents"])
    assert len(rows) == 12
    for (a, b, latents), row in rows.iterrows():
        for name, value in plain_statistics(*plain_pair(call, a, b), latents).items():
            assert row[name] == pytest.approx(value, abs=1e-9), (a, b, latents, name)


def test_pw_mcc_by_absolute_cosines_equals_a_plain_assignment_and_stands_last(planted):
    _, call, _, found = planted
    pairs = found["pairs"]
    assert pairs.columns[-1] == "mean_absolute_cosine_decoder"
    rows = pairs.query("source == 'trained' and latents == 'all'")
    for row in rows.itertuples():
        cosine = np.abs(plain_pair(call, row.a, row.b)[0]["decoder"][0])
        best = cosine[linear_sum_assignment(cosine, maximize=True)].mean()
        assert row.mean_absolute_cosine_decoder == pytest.approx(best, abs=1e-6)
        assert row.mean_absolute_cosine_decoder >= row.mean_cosine_decoder - 1e-6
    floors = pairs.query("source == 'floor' and latents == 'all'")
    assert (floors.mean_absolute_cosine_decoder > floors.mean_cosine_decoder).all()
    assert pairs.query("latents == 'live'").mean_absolute_cosine_decoder.isna().all()


def test_pw_mcc_and_its_interval_equal_a_listing_of_every_resample(planted):
    _, call, _, found = planted
    seeds = (1, 2, 3, 4)
    value = {}
    for a, b in [(a, b) for a in seeds for b in seeds if a < b]:
        pair, alive = plain_pair(call, a, b)
        value[a, b] = plain_statistics(pair, alive, "all")["mean_cosine_decoder"]
    means = []
    for drawn in product(seeds, repeat=4):
        pairs = [value[min(a, b), max(a, b)] for i, a in enumerate(drawn) for b in drawn[:i] if a != b]
        if pairs:
            means.append(np.mean(pairs))
    means = np.sort(means)
    row = (
        found["intervals"].set_index(["source", "latents", "statistic"]).loc[("trained", "all", "mean_cosine_decoder")]
    )
    assert row["mean"] == pytest.approx(np.mean(list(value.values())), abs=1e-9)
    for end, level in (("low", 0.025), ("high", 0.975)):
        # The smallest mean with at least this share of the resamples at or below it.
        assert row[end] == pytest.approx(means[int(np.ceil(level * len(means))) - 1], abs=1e-9)
    assert (row["n_pairs"], row["n_units"]) == (6, 4)


def test_subspace_overlap_equals_the_principal_angles_of_the_unshared_rows(planted):
    _, call, _, found = planted
    pair, _ = plain_pair(call, 1, 3)
    (encoder, to_encoder), (decoder, to_decoder) = pair["encoder"], pair["decoder"]
    at = np.arange(len(to_decoder))
    shared = (to_encoder == to_decoder) & (np.minimum(encoder[at, to_encoder], decoder[at, to_decoder]) >= THRESHOLD)
    unshared = {1: np.flatnonzero(~shared), 3: np.setdiff1d(at, to_decoder[shared])}
    spans, ranks = {}, {}
    for seed, chosen in unshared.items():
        rows = load_file(dict(call["sae"])[seed] / "sae.safetensors")["decoder"].astype(np.float64)[chosen]
        _, lengths, spans[seed] = np.linalg.svd(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        ranks[seed] = next(r for r in range(1, 65) if (lengths[:r] ** 2).sum() >= 0.5 * (lengths**2).sum())
    rank = max(ranks.values())
    angles = subspace_angles(spans[1][:rank].T, spans[3][:rank].T)
    row = found["pairs"].query("source == 'trained' and latents == 'all' and a == 1 and b == 3").iloc[0]
    assert row["subspace_rank"] == rank
    assert row["subspace_overlap"] == pytest.approx((np.cos(angles) ** 2).mean(), abs=1e-6)


def test_random_subspaces_overlap_by_rank_over_dimension():
    """Two random r-dimensional subspaces of d dimensions have a mean squared cosine of r / d."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((2, 3000, 32))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    everything = np.arange(3000)
    sides = [(side, everything, generator.choice(everything, 200, replace=False)) for side in rows]
    rank, found, chance, spread = subspace.compare(*sides, generator)
    assert chance == pytest.approx(rank / 32, abs=0.05)
    assert abs(found - chance) < 5 * spread


def test_floors_have_every_statistic_of_trained_pairs(planted):
    _, _, _, found = planted
    pairs = found["pairs"]
    compared = [name for name in pairs if not name.startswith("subspace")]
    floors = pairs.loc[pairs["source"] == "floor", compared]
    # The last is not measured of the live latents alone.
    assert floors.drop(columns="mean_absolute_cosine_decoder").notna().all(axis=None)
    statistics = found["intervals"].query("source == 'floor'")["statistic"].unique()
    assert set(statistics) == {name for name in pairs if name not in intervals.NOT_MEANS}
