import contextlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sae_stability.sae.training.settings import TrainSettings
from tests.sae.training.chunks import planted_dictionary, planted_rows, write_chunk


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two chunks and held-out rows from one planted dictionary, and settings that fit them."""
    folder = tmp_path_factory.mktemp("planted")
    dictionary = planted_dictionary(48, 24)
    chunks = [
        write_chunk(folder / f"chunk-{c:04d}", planted_rows(dictionary, 4096, active=3, seed=c)) for c in range(2)
    ]
    heldout = write_chunk(folder / "heldout", planted_rows(dictionary, 2000, active=3, seed=9), shards=1)
    settings = TrainSettings(
        n_latents=64,
        k=3,
        tokens=4096 * 2 * 3,
        chunk_tokens=4096,
        epochs=3,
        batch_size=128,
        learning_rate=1e-3,
        warmup_steps=5,
        normalisation="centre-scale",
        hookpoint="here",
    )
    return SimpleNamespace(dictionary=dictionary, chunks=chunks, heldout=heldout, settings=settings)


@pytest.fixture
def one_chunk(planted: SimpleNamespace) -> TrainSettings:
    return replace(planted.settings, tokens=4096 * 3)


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch):
    """Inside `interrupted_at(step)`, training is interrupted before it records the result of that step."""
    from sae_stability.sae.training.history import History

    add = History.add

    @contextlib.contextmanager
    def interrupted(step: int):
        def stop(self, number, *rest):
            if number == step:
                raise KeyboardInterrupt
            return add(self, number, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(History, "add", stop)
            with pytest.raises(KeyboardInterrupt):
                yield

    return interrupted


@pytest.fixture
def train(planted: SimpleNamespace, tmp_path: Path):
    """Train on all chunks, with a state file between them; returns the SAE folder."""
    from sae_stability.sae.training.train import train_chunk

    def run(name: str, settings: TrainSettings, **options) -> Path:
        for c in range(settings.n_chunks):
            last = c == settings.n_chunks - 1
            train_chunk(
                chunk=planted.chunks[c],
                chunk_index=c,
                settings=settings,
                first_chunk_manifest=planted.chunks[0] / "manifest.json",
                previous=tmp_path / f"{name}-{c - 1}.safetensors" if c else None,
                state_out=None if last else tmp_path / f"{name}-{c}.safetensors",
                out=tmp_path / name if last else None,
                progress=False,
                **options,
            )
        return tmp_path / name

    return run
