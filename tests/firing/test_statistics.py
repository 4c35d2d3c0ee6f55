"""The table of firing: every column by slow plain numpy, and planted values."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sae_stability.errors import StudyError
from sae_stability.files import read_table
from sae_stability.firing import firings as sorting
from sae_stability.firing.job import measure_firing
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights
from tests.firing.conftest import N_LATENTS, Planted


def reference(codes: np.ndarray, tokens: np.ndarray, documents: np.ndarray) -> pd.DataFrame:
    """Every column, latent by latent, from dense activations."""
    rows = []
    for latent, values in enumerate(codes.T.astype(np.float64)):
        fires = values != 0
        row = {"latent": latent, "fired": fires.sum(), "rate": fires.mean()}
        if not fires.any():
            rows.append(row | {"top_token": -1, "document_share": 0.0})
            continue
        kinds, counts = np.unique(tokens[fires], return_counts=True)
        rows.append(
            row
            | {
                "mean_activation": values[fires].mean(),
                "max_activation": values[fires].max(),
                "q50": np.quantile(values[fires], 0.5),
                "q90": np.quantile(values[fires], 0.9),
                "q99": np.quantile(values[fires], 0.99),
                "token_entropy": stats.entropy(counts, base=2),
                "top_token": kinds[counts.argmax()],
                "top_token_share": counts.max() / counts.sum(),
                "document_share": len(set(documents[fires])) / len(set(documents)),
            }
        )
    return pd.DataFrame(rows)


def measured(planted: Planted, tmp_path, threads: int = 1, **options) -> pd.DataFrame:
    folder = planted.sae("one", np.arange(N_LATENTS))
    settings = {"chunk": planted.chunk, "tokens": planted.token_set, "threads": threads} | options
    measure_firing(sae=[("0", folder)], out=[("0", tmp_path / "one.parquet")], work=tmp_path / "work", **settings)
    assert not (tmp_path / "work" / ".sorting").exists()
    return read_table(tmp_path / "one.parquet")[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_column_equals_plain_numpy(planted: Planted, tmp_path, threads: int):
    table = measured(planted, tmp_path, threads)
    expected = reference(planted.codes, planted.tokens, planted.documents)
    pd.testing.assert_frame_equal(table, expected[list(table)], check_dtype=False, rtol=1e-9)


def test_the_first_rows_alone(planted: Planted, tmp_path):
    table = measured(planted, tmp_path, rows=650)
    expected = reference(planted.codes[:650], planted.tokens[:650], planted.documents[:650])
    pd.testing.assert_frame_equal(table, expected[list(table)], check_dtype=False, rtol=1e-9)
    assert table.fired[4] == 0  # it fires on row 700


def test_planted_latents(planted: Planted, tmp_path):
    table = measured(planted, tmp_path)
    assert (table.fired[0], table.top_token[0]) == (0, -1)
    assert np.isnan(table.q50[0])
    assert (table.rate[1], table.document_share[1]) == (1, 1)
    assert (table.token_entropy[2], table.top_token_share[2]) == (0, 1)
    assert table.document_share[3] == 1 / len(set(planted.documents))
    assert table.fired[4] == 1


def test_a_matrix_has_neither_tokens_nor_documents(planted: Planted, tmp_path):
    table = measured(planted, tmp_path, tokens=None)
    assert (table.top_token == -1).all()
    assert table[["token_entropy", "top_token_share", "document_share"]].isna().all().all()
    assert table.fired.sum() == np.count_nonzero(planted.codes)


def test_latents_are_sorted_in_small_groups_and_small_portions(planted: Planted, tmp_path, monkeypatch):
    whole = measured(planted, tmp_path)
    monkeypatch.setattr(sorting, "GROUP", 5)
    monkeypatch.setattr(sorting, "_WAITING", 100)
    pd.testing.assert_frame_equal(measured(planted, tmp_path), whole)


def test_topk_by_the_kernel(planted: Planted, tmp_path):
    """TopK on a CPU takes a path of its own: compare with the dense activations of the same SAE."""
    import torch

    from sae_stability import sae

    folder = planted.sae("topk", np.arange(N_LATENTS)[::-1], activation="topk", k=2)
    measure_firing(
        sae=[("0", folder)],
        chunk=planted.chunk,
        tokens=planted.token_set,
        out=[("0", tmp_path / "topk.parquet")],
        work=tmp_path / "work",
    )
    dense = sae.load(folder).encode(torch.from_numpy(planted.codes)).numpy()
    expected = reference(dense, planted.tokens, planted.documents)
    table, metadata = read_table(tmp_path / "topk.parquet")
    pd.testing.assert_frame_equal(table, expected[list(table)], check_dtype=False, rtol=1e-9)
    assert metadata["rows"] == len(planted.codes)
    assert (dense != 0).sum(1).max() == 2


MISTAKES = {
    "no such SAE": ({"out": [("1", Path("a"))]}, "no SAE is called 1; --sae gives 0"),
    "no match": ({"cofiring_out": [("0-0", Path("a"))]}, "--cofiring-out 0-0 needs --match 0-0=FILE"),
    "no text": ({"contexts_out": [("0", Path("a"))]}, "need --tokens"),
    "another hash": ({"sae_hash": [("0", "other")]}, "made from other settings or data"),
    "too many rows": ({"rows": 10**6}, "1,000,000 rows are asked for"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(planted: Planted, tmp_path, mistake: str):
    options, words = MISTAKES[mistake]
    folder = planted.sae("one", np.arange(N_LATENTS))
    with pytest.raises(StudyError, match=re.escape(words)):
        measure_firing(sae=[("0", folder)], chunk=planted.chunk, work=tmp_path / "work", **options)
    assert not (tmp_path / "work" / ".sorting").exists()


def test_an_sae_of_another_width(planted: Planted, tmp_path):
    rows = np.eye(5, dtype=np.float32)
    weights = Weights(rows, rows, np.zeros(5, np.float32), np.zeros(5, np.float32), activation="relu")
    formats.write(tmp_path / "narrow", weights, "own")
    with pytest.raises(StudyError, match=r"narrow: has width 5, but .*heldout has width 12"):
        measure_firing(sae=[("0", tmp_path / "narrow")], chunk=planted.chunk, work=tmp_path / "work")
