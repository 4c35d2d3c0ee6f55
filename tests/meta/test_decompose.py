"""A latent taken apart into meta-latents, on compositions that are planted."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sae_stability import sae as library
from sae_stability.errors import StudyError
from sae_stability.meta.decoder_rows import write_decoder_rows
from sae_stability.meta.decompose import decompose
from sae_stability.sae.formats import own

WIDTH, PARTS, LATENTS = 32, 24, 300


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, np.ndarray, list]:
    """An SAE whose decoder rows are weighted sums of one or three of 24 directions; the directions; which of them.

    Were there as many parts in every row, a shift of all directions would give the same rows.
    """
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(3)
    truth = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][:PARTS].astype(np.float32)
    chosen = [rng.choice(PARTS, (1, 3)[latent % 2], replace=False) for latent in range(LATENTS)]
    rows = np.stack([rng.uniform(0.5, 1.5, len(parts)) @ truth[parts] for parts in chosen]).astype(np.float32)
    cfg = {"architecture": "topk", "n_latents": LATENTS, "d_model": WIDTH, "k": 4, "config_hash": "whole"}
    biases = {"encoder_bias": np.zeros(LATENTS, np.float32), "decoder_bias": np.zeros(WIDTH, np.float32)}
    own.save(folder / "saes/base/seed-0", {"encoder": rows, "decoder": rows * 2, **biases}, cfg)
    chunk = folder / "chunk-0000"
    write_decoder_rows(sae=[folder / "saes/base/seed-0"], chunk=0, shard_rows=LATENTS, out=chunk)
    library.train(
        chunk,
        n_latents=PARTS,
        k=2,
        architecture="batchtopk",
        epochs=250,
        batch_size=60,
        learning_rate=2e-4,
        auxk_alpha=1 / 32,
        dead_tokens=600,
        threads=1,
        out=folder / "saes/meta/seed-0",
    )
    return folder / "saes", truth, chosen


def test_a_meta_sae_finds_the_planted_directions(planted):
    saes, truth, _ = planted
    found = library.load(saes / "meta/seed-0").decoder.numpy()
    best = np.abs(truth @ found.T).max(axis=1)
    chance = np.abs(truth @ np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]).max(axis=1)
    assert np.median(best) > 0.85 > chance.max()
    assert (best > 0.8).mean() > 0.8


def test_a_latent_is_the_sum_of_its_parts(planted):
    """The meta-SAE lies beside the SAE and is found by what it records."""
    saes, truth, chosen = planted
    said = decompose(saes / "base/seed-0", latent=17).splitlines()
    assert "meta/seed-0 explain" in said[1]
    numbers = [int(line.split()[0]) for line in said[4:]]
    found = library.load(saes / "meta/seed-0").decoder.numpy()[numbers]
    nearest = np.abs(found @ truth.T).argmax(axis=1)
    assert set(nearest) == set(chosen[17])
    others = {int(other) for other in said[4].split(maxsplit=3)[3].split(" (")[0].split(", ")}
    assert all(nearest[0] in chosen[other] for other in others)


def test_lengths_do_not_depend_on_the_length_of_decoder_rows(planted, tmp_path: Path):
    """Meta-latents with decoder rows twice as long and activations half as large say the same."""
    saes = planted[0]
    meta = library.load(saes / "meta/seed-0").weights
    halved = {name: getattr(meta, name) / 2 for name in ("encoder", "encoder_bias", "threshold")}
    library.formats.write(tmp_path / "meta", dataclasses.replace(meta, decoder=2 * meta.decoder, **halved), "own")
    said = [
        decompose(saes / "base/seed-0", latent=17, meta=folder) for folder in (saes / "meta/seed-0", tmp_path / "meta")
    ]
    assert said[0].splitlines()[2:] == said[1].splitlines()[2:]


@pytest.mark.parametrize(
    ("sae", "latent", "expected"),
    [("base/seed-0", LATENTS, "--latent: 300 given"), ("meta/seed-0", 0, "no meta-SAE of it lies beside it")],
)
def test_what_cannot_be_is_refused(planted, sae: str, latent: int, expected: str):
    with pytest.raises(StudyError, match=expected):
        decompose(planted[0] / sae, latent=latent)
