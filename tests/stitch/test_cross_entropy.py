"""Stitched SAEs inside a tiny language model."""

from pathlib import Path

import numpy as np
import pytest

from sae_stability.activations.extraction import extract
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.files import read_table
from sae_stability.models.source import ModelSource
from sae_stability.sae import formats
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.weights import Weights
from sae_stability.stitch.job import stitch
from tests import tiny

HOOKPOINT = "layers.0.mlp"


def test_the_ends_of_the_path_have_the_cross_entropy_of_their_saes(tmp_path: Path):
    model = ModelSource(str(tiny.tiny_gpt_neox(tmp_path / "model")))
    sizes = {"heldout_tokens": 600, "train_tokens": 300, "chunk_tokens": 300}
    write_token_set(tiny.sentences(60), model, context_length=32, packing=True, out=tmp_path / "tokens", **sizes)
    extracted = {"hookpoint": [HOOKPOINT], "dtype": "float32", "shard_rows": 1000, "shuffle_seed": 0}
    extracted |= {
        "chunk_tokens": 300,
        "batch_tokens": 512,
        "max_norm_multiple": None,
        "device": "cpu",
        "config_hash": "",
    }
    heldout = tmp_path / "heldout"
    extract(model=model, tokens=tmp_path / "tokens", chunk="heldout", out=[heldout], keep_special=False, **extracted)
    rng, saes = np.random.default_rng(0), []
    for name, n in (("0", 20), ("1", 40)):
        rows = (rng.standard_normal((n, tiny.WIDTH)) / tiny.WIDTH**0.5).astype(np.float32)
        biases = np.zeros(n, np.float32), np.zeros(tiny.WIDTH, np.float32)
        formats.write(tmp_path / name, Weights(rows, rows, *biases, activation="topk", k=3), "own")
        saes.append((name, tmp_path / name))
    inside = {"tokens": tmp_path / "tokens" / "heldout.parquet", "model": model, "hookpoint": HOOKPOINT}
    stitch(sae=saes, chunk=heldout, out=[("0-1", tmp_path / "out")], threshold=0.4, **inside)
    path, _ = read_table(tmp_path / "out" / "path.parquet")
    outs = [[tmp_path / f"{name}.{ending}" for name, _ in saes] for ending in ("json", "parquet")]
    folders = [folder for _, folder in saes]
    first, last = evaluate(sae=folders, chunk=heldout, out_json=outs[0], out_parquet=outs[1], **inside)
    assert path.ce.iloc[0] == pytest.approx(first["ce_sae"], rel=1e-5)
    assert path.ce.iloc[-1] == pytest.approx(last["ce_sae"], rel=1e-5)
    assert path.ce.notna().sum() == path.phase.nunique() == 4
