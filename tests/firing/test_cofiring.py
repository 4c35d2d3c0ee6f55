"""Matched latents that fire together: every column by plain numpy, and planted pairs."""

import numpy as np
import pandas as pd
import pytest

from sae_stability.files import read_table, write_table
from sae_stability.firing.job import measure_firing
from tests.firing.conftest import N_LATENTS, Planted

ORDER = np.random.default_rng(1).permutation(N_LATENTS)


@pytest.fixture
def table(planted: Planted, tmp_path) -> pd.DataFrame:
    """The second SAE is the first with its latents in another order; the encoder's match is off by one."""
    counterpart = np.argsort(ORDER)
    matches = {"latent": np.arange(N_LATENTS), "counterpart_decoder": counterpart}
    matches["counterpart_encoder"] = np.where(np.arange(N_LATENTS) == 5, -1, np.roll(counterpart, 1))
    write_table(tmp_path / "match.parquet", pd.DataFrame(matches))
    measure_firing(
        sae=[("0", planted.sae("a", np.arange(N_LATENTS))), ("1", planted.sae("b", ORDER))],
        chunk=planted.chunk,
        tokens=planted.token_set,
        match=[("0-1", tmp_path / "match.parquet")],
        cofiring_out=[("0-1", tmp_path / "0-1.parquet")],
        config_hash=[("0-1", "abc")],
        work=tmp_path / "work",
    )
    found, metadata = read_table(tmp_path / "0-1.parquet")
    assert metadata["config_hash"] == "abc"
    return found


def test_every_column_equals_plain_numpy(planted: Planted, table: pd.DataFrame):
    for row in table.itertuples():
        a, b = planted.codes[:, row.latent].astype(float), planted.codes[:, ORDER[row.counterpart]].astype(float)
        both, either = (a != 0) & (b != 0), (a != 0) | (b != 0)
        assert row.both == both.sum()
        expected = {"jaccard": both.sum() / either.sum() if either.any() else np.nan}
        documents = [set(planted.documents[fires]) for fires in (a != 0, b != 0)]
        union = documents[0] | documents[1]
        expected["document_jaccard"] = len(documents[0] & documents[1]) / len(union) if union else np.nan
        expected["correlation"] = np.corrcoef(a, b)[0, 1] if a.std() * b.std() > 0 else np.nan
        for name, value in expected.items():
            assert getattr(row, name) == pytest.approx(value, abs=1e-9, nan_ok=True), (name, row)


def test_the_same_latents_are_found_to_be_the_same(table: pd.DataFrame):
    fired = table[(table.pairing == "decoder") & (table.latent > 0)]
    assert np.allclose(fired[["correlation", "jaccard", "document_jaccard"]], 1)
    silent = table[(table.pairing == "decoder") & (table.latent == 0)]
    assert silent[["correlation", "jaccard", "document_jaccard"]].isna().all().all()


def test_the_pairings(table: pd.DataFrame):
    by_pairing = {name: part.set_index("latent").counterpart for name, part in table.groupby("pairing")}
    assert sorted(by_pairing) == ["decoder", "encoder", "shuffled"]
    assert set(by_pairing["decoder"].index) - set(by_pairing["encoder"].index) == {5}
    assert sorted(by_pairing["shuffled"]) == list(range(N_LATENTS))
    assert (by_pairing["shuffled"] != by_pairing["decoder"]).mean() > 0.5
