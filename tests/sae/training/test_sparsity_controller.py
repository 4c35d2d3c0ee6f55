"""The sparsity controller: L0 within 5 % of its target on held-out rows, on uneven activations."""

import math
from pathlib import Path

import numpy as np
import pytest

from sae_stability.files import read_table
from sae_stability.sae.quality.evaluate import evaluate
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.sae.training.sparsity_controller import MEMORY, SparsityController
from sae_stability.sae.training.train import train_chunk
from tests.sae.training.chunks import planted_dictionary, write_chunk


def uneven_rows(dictionary: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """Features from common to rare (frequency 1 / rank), log-normal coefficients, rows of different norms, noise."""
    random = np.random.default_rng(seed)
    often = np.minimum(0.5, 3 / (np.arange(len(dictionary)) + 3))
    codes = (random.random((rows, len(dictionary))) < often) * random.lognormal(0, 0.5, (rows, len(dictionary)))
    sizes = random.lognormal(0, 0.25, (rows, 1))
    noise = random.normal(0, 0.05, (rows, dictionary.shape[1]))
    return (sizes * (codes @ dictionary) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A chunk to train on, and held-out rows."""
    folder, dictionary = tmp_path_factory.mktemp("uneven"), planted_dictionary(160, 32)
    chunk = write_chunk(folder / "chunk-0000", uneven_rows(dictionary, 16384, seed=1))
    return chunk, write_chunk(folder / "heldout", uneven_rows(dictionary, 8192, seed=2), shards=1)


@pytest.mark.parametrize("architecture", ["relu", "gated", "jumprelu"])
def test_l0_is_within_five_percent_of_its_target_on_heldout_rows(uneven, tmp_path, architecture, capsys) -> None:
    chunk, heldout = uneven
    settings = TrainSettings(
        architecture=architecture,
        n_latents=96,
        k=8,
        tokens=16384 * 8,
        chunk_tokens=16384,
        epochs=8,
        batch_size=128,
        learning_rate=4e-4,
        warmup_steps=20,
        normalisation="centre-scale",
    )
    train_chunk(chunk=chunk, chunk_index=0, settings=settings, out=tmp_path / "sae", progress=False)
    files = {"out_json": [tmp_path / "e.json"], "out_parquet": [tmp_path / "e.parquet"]}
    (metrics,) = evaluate(sae=[tmp_path / "sae"], chunk=heldout, **files)
    assert metrics["l0"] == pytest.approx(8, rel=0.05)
    assert "L0" not in capsys.readouterr().err


@pytest.mark.parametrize(("architecture", "lines"), [("gated", 1), ("topk", 0)])
def test_a_missed_l0_is_reported_once_if_it_was_a_target(uneven, tmp_path, architecture, lines, capsys) -> None:
    """TopK's k is a limit, not a target: half of all latents are below 0 for any k."""
    chunk, _ = uneven
    k = {"gated": 8, "topk": 96}[architecture]
    settings = TrainSettings(
        architecture=architecture, n_latents=96, k=k, tokens=4096 * 2, chunk_tokens=4096, batch_size=128, init_seed=3
    )
    state, first = tmp_path / "state.safetensors", chunk / "manifest.json"
    train_chunk(chunk=chunk, chunk_index=0, settings=settings, state_out=state, progress=False)
    assert not capsys.readouterr().err
    files = {"first_chunk_manifest": first, "previous": state, "out": tmp_path / "sae"}
    train_chunk(chunk=chunk, chunk_index=1, settings=settings, progress=False, **files)
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == lines
    history, _ = read_table(tmp_path / "sae/history.parquet")
    l0 = history.l0[-len(history) // 10 :].mean()
    assert abs(l0 / k - 1) > 0.05
    for line in messages:
        start = f"init seed 3: L0 is {l0:.3g} at the end, {l0 / k - 1:+.0%} off its target k = 8. Train longer"
        assert line.startswith(start)


@pytest.mark.parametrize("first", [2e-4, 5.0])
def test_the_controller_finds_the_coefficient_that_gives_the_target(first) -> None:
    """On a simulated L0 = 10 / coefficient^0.3, which follows the coefficient over some tens of steps."""
    steps, target = 2000, 16.0
    controller = SparsityController(np.zeros(MEMORY), target, 3.0, learning_time=1e-3 * steps / 2)
    log_l0 = math.log(200.0)
    for step in range(steps):
        coefficient = max(controller.coefficient(first), 1e-6)
        log_l0 += (math.log(10 / coefficient**0.3) - log_l0) / 30
        controller.update(math.exp(log_l0), 1e-3 * (1 - step / steps))
    assert math.exp(log_l0) == pytest.approx(target, rel=0.02)
