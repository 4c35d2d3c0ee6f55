"""Decoder rows of SAEs as rows to train on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae_stability.activations import reader
from sae_stability.errors import StudyError
from sae_stability.files import write_table
from sae_stability.meta.decoder_rows import write_decoder_rows
from sae_stability.sae.formats import own

DECODER = np.array([[3, 4, 0], [0, 0, 2], [0, 0, 0], [1, 0, 0]], np.float32)


@pytest.fixture
def sae(tmp_path: Path) -> Path:
    """An SAE of four latents, one of them without a direction; two seeds hold the same."""
    zeros = {"encoder_bias": np.zeros(4, np.float32), "decoder_bias": np.zeros(3, np.float32)}
    cfg = {"architecture": "topk", "n_latents": 4, "d_model": 3, "k": 1, "config_hash": "first"}
    own.save(tmp_path / "sae", {"encoder": DECODER, "decoder": DECODER, **zeros}, cfg)
    return tmp_path / "sae"


def rows_of(out: Path) -> dict[int, list[float]]:
    """Number of the latent -> its row."""
    parts = list(reader.rows(out))
    return {int(i): row.tolist() for rows, index in parts for i, row in zip(index, rows, strict=True)}


@pytest.mark.parametrize("chunk", [0, "heldout"])
def test_rows_have_norm_1_and_are_numbered_over_all_saes(sae: Path, tmp_path: Path, chunk):
    write_decoder_rows(sae=[sae, sae], sae_hash=["first", "first"], chunk=chunk, shard_rows=5, out=tmp_path / "out")
    one = {0: [0.6, 0.8, 0], 1: [0, 0, 1], 3: [1, 0, 0]}
    expected = {**one, **{4 + number: row for number, row in one.items()}}
    found = rows_of(tmp_path / "out")
    assert found.keys() == expected.keys(), "a latent without a direction is no row"
    assert all(np.allclose(found[number], row) for number, row in expected.items())
    assert reader.Chunk(tmp_path / "out").left_out == 2


def test_dead_latents_are_left_out_where_a_table_tells(sae: Path, tmp_path: Path):
    table = pd.DataFrame({"latent": [3, 2, 1, 0], "alive": [True, True, False, True]})
    write_table(tmp_path / "latents.parquet", table, {"config_hash": "evaluated"})
    asked = {
        "sae": [sae],
        "latents": [tmp_path / "latents.parquet"],
        "chunk": 0,
        "shard_rows": 4,
        "out": tmp_path / "out",
    }
    write_decoder_rows(**asked, latents_hash=["evaluated"])
    assert rows_of(tmp_path / "out").keys() == {0, 3}
    with pytest.raises(StudyError, match=r"latents\.parquet: was made from something else"):
        write_decoder_rows(**asked, latents_hash=["another"])


def test_another_sae_is_refused(sae: Path, tmp_path: Path):
    with pytest.raises(StudyError, match="made from other settings or data"):
        write_decoder_rows(sae=[sae], sae_hash=["second"], chunk=0, shard_rows=4, out=tmp_path / "out")
