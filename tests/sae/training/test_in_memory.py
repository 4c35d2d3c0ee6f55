"""Training from Python, on a chunk and on rows in memory, gives the same bits as the command."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability import cli, sae
from sae_stability.activations.matrix import import_matrix
from sae_stability.errors import StudyError
from sae_stability.sae.formats import own
from sae_stability.sae.model import SAE

SETTINGS = {"n_latents": 32, "k": 3, "batch_size": 64, "epochs": 2, "learning_rate": 1e-3}


def same(loaded: SAE, folder: Path) -> bool:
    tensors = own.read(folder).tensors
    return all(np.array_equal(value, tensors[name]) for name, value in loaded.weights.tensors.items())


def test_a_chunk_gives_the_bits_of_the_command(planted, one_chunk, tmp_path):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(one_chunk).items() if value is not None]
    assert cli.main(["train", "--chunk", str(planted.chunks[0]), "--out", str(tmp_path / "verb"), *flags]) == 0
    trained = sae.train(planted.chunks[0], **asdict(one_chunk), out=tmp_path / "function", threads=2)
    assert same(trained, tmp_path / "verb")
    for name in ("sae.safetensors", "cfg.json", "metrics.json"):
        assert (tmp_path / "function" / name).read_bytes() == (tmp_path / "verb" / name).read_bytes()


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, lambda rows: rows.astype(np.float64)])
def test_rows_in_memory_give_the_bits_of_the_same_rows_imported(tmp_path, kind):
    rows = np.random.default_rng(0).normal(size=(640, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    chunk = tmp_path / "chunk-0000"
    import_matrix(
        matrix=tmp_path / "rows.npy",
        tensor=None,
        chunk=0,
        heldout_rows=0,
        train_rows=640,
        chunk_rows=640,
        shard_rows=640,
        dtype="float32",
        shuffle_seed=0,
        out=chunk,
        config_hash="",
    )
    from_chunk = sae.train(chunk, **SETTINGS, normalisation="centre-scale", out=tmp_path / "sae")
    assert from_chunk.cfg["model"] == "rows.npy"
    assert same(sae.train(kind(rows), **SETTINGS, normalisation="centre-scale"), tmp_path / "sae")


def test_each_of_several_seeds_gives_the_sae_that_it_gives_alone(tmp_path):
    rows = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    trained = sae.train(rows, **SETTINGS, init_seeds=[3, 1], out=tmp_path)
    assert [loaded.cfg["init_seed"] for loaded in trained] == [3, 1]
    for seed, loaded in zip([3, 1], trained, strict=True):
        assert same(loaded, tmp_path / f"seed-{seed}")
        assert same(sae.train(rows, **SETTINGS, init_seed=seed), tmp_path / f"seed-{seed}")


def test_no_temporary_file_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sae.train(np.random.default_rng(0).normal(size=(128, 4)), **SETTINGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (np.zeros((128, 4)), {"latents": 3}, "train: 'latents' is not a setting; allowed: architecture, n_latents"),
        (np.zeros((128, 4)), {"k": None}, "train: k is missing; give k="),
        (np.zeros((128, 4)), {"init_seed": 0, "init_seeds": [1]}, "init_seed and init_seeds are both given"),
        (np.zeros(128), {}, r"float64 of shape \(128,\); must be a real matrix \(rows, d_model\)"),
        (np.full((128, 4), np.nan), {}, "activations, row 0: the row holds NaN or infinity; leave such rows out"),
        (np.ones((20, 4)), {}, "activations: 20 rows, fewer than one batch of 64; give more, or lower batch_size"),
        (np.ones((128, 4)) * 1j, {}, "complex128 of shape"),
        (np.full((128, 4), "a"), {}, "activations: cannot be read as a matrix of numbers"),
        (None, {}, "activations: cannot be read as a matrix of numbers"),
        (np.zeros((128, 4)), {"init_seeds": []}, r"init_seeds is \[\]; give a list with a seed for each SAE"),
        (np.zeros((128, 4)), {"init_seeds": 3}, "init_seeds is 3; give a list"),
        (np.zeros((128, 4)), {"epochs": "2"}, "epochs: '2' given; it must be a whole number"),
        (np.zeros((128, 4)), {"epochs": 0}, "epochs: 0 given; it must be at least 1"),
        (np.zeros((128, 4)), {"batch_size": "a"}, "batch_size: a given; it must be a whole number"),
        (np.zeros((128, 4)), {"threads": -1}, "threads: -1 given; it must be at least 1"),
        (np.zeros((128, 4)), {"device": "tpu"}, "device: 'tpu' cannot be used here"),
        (Path("no-such-folder"), {}, "no-such-folder/manifest.json: no such file"),
    ],
)
def test_a_mistake_is_one_line(rows, changes, message):
    settings = {name: value for name, value in (SETTINGS | changes).items() if value is not None}
    with pytest.raises(StudyError, match=message):
        sae.train(rows, **settings)
