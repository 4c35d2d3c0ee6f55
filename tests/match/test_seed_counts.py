"""Latents found only in the base SAE: the formula for many seeds against a count of every combination."""

import numpy as np
import pytest

from sae_stability.match import seed_counts


def masks_of(n_seeds: int, n_latents: int, generator: np.random.Generator):
    """Which latents each base shares, some of them with every other seed and some with none, and which are counted."""
    rates = generator.choice([0.0, 0.3, 0.7, 1.0], n_latents)
    masks = [generator.random((n_seeds - 1, n_latents)) < rates for _ in range(n_seeds)]
    return masks, [generator.random(n_latents) < 0.8 for _ in range(n_seeds)]


@pytest.mark.parametrize("n_seeds", [2, 3, 7])
def test_the_formula_gives_what_a_count_of_all_combinations_gives(n_seeds, monkeypatch):
    monkeypatch.setattr(seed_counts, "_BLOCK", 100)  # several blocks of pairs
    masks, counted = masks_of(n_seeds, 40, np.random.default_rng(n_seeds))
    formula = seed_counts.all_combinations(masks, counted)
    listed = seed_counts.listed_combinations(masks, counted)
    assert list(formula) == list(listed)
    for m, values in listed.items():
        assert formula[m] == pytest.approx((np.mean(values), np.std(values), len(values)), abs=1e-12)


def test_many_seeds_are_counted_by_the_formula():
    """100 seeds have 6e31 combinations. Half of the latents are shared with all, a quarter with one seed of 99."""
    n_seeds, n_latents = 100, 8
    mask = np.zeros((n_seeds - 1, n_latents), bool)
    mask[:, :4] = True
    mask[0, 4:6] = True
    found = seed_counts.only_in_base([mask] * n_seeds, [np.ones(n_latents, bool)] * n_seeds)
    assert list(found) == list(range(2, n_seeds + 1))
    # With m - 1 of 99 seeds chosen, the one seed is among them in (m - 1) / 99 of the choices.
    chosen = 49 / 99
    assert found[50].mean == pytest.approx(0.25 + 0.25 * (1 - chosen))
    assert found[50].std == pytest.approx(0.25 * np.sqrt(chosen * (1 - chosen)))
    assert found[100] == pytest.approx((0.25, 0, n_seeds))


def test_a_base_without_counted_latents_gives_nan_by_either_way():
    for n_seeds in (3, 12):
        masks, counted = masks_of(n_seeds, 10, np.random.default_rng(0))
        counted[1][:] = False
        found = seed_counts.only_in_base(masks, counted)
        assert all(np.isnan(spread.mean) and np.isnan(spread.std) for spread in found.values())


def test_numbers_of_combinations_beyond_int64_are_written_as_floats(tmp_path):
    from sae_stability.files import read_table, write_table

    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b
            self.columns = {"alive": np.ones(2, bool), "alive_b": np.ones(2, bool)}

        def shared_of(self, *_):
            return np.array([True, False])

    seeds = list(range(70))
    pairs = [Pair(a, b) for a in seeds for b in seeds if a < b]
    write_table(tmp_path / "seeds.parquet", seed_counts.table(pairs, {}, seeds, 0.7), {})
    found, _ = read_table(tmp_path / "seeds.parquet")
    assert found["n"].max() > 2.0**63
    assert (found.loc[found["statistic"] == "only_in_base", "mean"] == 0.5).all()
