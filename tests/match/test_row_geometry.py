"""Norms of encoder rows, and how close other decoder rows lie."""

import numpy as np
import pytest

from sae_stability.match import row_geometry
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights


def test_the_density_is_the_mean_cosine_to_the_nearest_others(monkeypatch):
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((50, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    expected = [np.sort(np.delete(cosines[i], i))[-10:].mean() for i in range(50)]
    assert row_geometry.density(rows) == pytest.approx(expected)
    monkeypatch.setattr(row_geometry, "_ENTRIES", 150)  # three rows at a time
    assert row_geometry.density(rows) == pytest.approx(expected)


def test_few_latents_have_few_neighbours():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    assert row_geometry.density(rows) == pytest.approx([0.3, 0.4, 0.7])
    assert np.isnan(row_geometry.density(rows[:1])).all()


def test_scaling_a_decoder_row_changes_no_density(tmp_path):
    encoder = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32)
    decoder = np.array([[2.0, 0.0], [0.6, 0.8]], np.float32)
    bias = np.zeros(2, np.float32)
    formats.write(tmp_path, Weights(encoder, decoder, bias, bias, activation="topk", k=1), "own")
    found = row_geometry.of(tmp_path)
    assert found["decoder_density"].to_numpy() == pytest.approx([0.6, 0.6])
    assert found["encoder_norm"].to_numpy() == pytest.approx([5, 2])
