"""Held-out text of a tiny model, with planted activations: the rows are the latents themselves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_stability.activations.writer import ChunkWriter, stored_order
from sae_stability.corpus.blocks import BlockFile
from sae_stability.corpus.tokenize import write_token_set
from sae_stability.models.source import ModelSource
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights
from tests import tiny

N_LATENTS = 12
CONTEXT = 30


@dataclass
class Planted:
    """A token set, its held-out rows, and what each latent does on each of them."""

    folder: Path
    codes: np.ndarray  # (rows, N_LATENTS): the activations of the latents, and the rows themselves
    tokens: np.ndarray  # (rows,)
    documents: np.ndarray  # (rows,)
    token_index: np.ndarray  # (rows,)

    @property
    def token_set(self) -> Path:
        return self.folder / "tokens"

    @property
    def chunk(self) -> Path:
        return self.folder / "heldout"

    def sae(self, name: str, order: np.ndarray, **settings) -> Path:
        """Write an SAE whose latent i has the planted activations of latent order[i]."""
        rows = np.eye(N_LATENTS, dtype=np.float32)[order]
        zeros = np.zeros(N_LATENTS, np.float32)
        formats.write(self.folder / name, Weights(rows, rows, zeros, zeros, **{"activation": "relu"} | settings), "own")
        return self.folder / name


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return make_planted(tmp_path_factory.mktemp("firing"))


def make_planted(folder: Path) -> Planted:
    source = ModelSource(str(tiny.tiny_bert(folder / "model")))
    write_token_set(
        tiny.sentences(120),
        source,
        context_length=CONTEXT,
        packing=True,
        heldout_tokens=1500,
        train_tokens=500,
        chunk_tokens=500,
        out=folder / "tokens",
    )
    blocks = BlockFile(folder / "tokens", "heldout")
    (found,) = blocks.kept()
    _, some, kept = found
    places = np.flatnonzero(kept.ravel())
    tokens, documents = some.tokens.ravel()[places], some.document_id.ravel()[places]
    codes = _codes(tokens, documents)
    order = stored_order(places, 3)
    capacity = np.bincount(order.shard(places), minlength=3)
    metadata = {"model": str(folder / "model"), "revision": None, "hookpoint": "encoder.layer.0"}
    metadata |= {"context_length": CONTEXT, "config_hash": "activations"}
    writer = ChunkWriter(folder / "heldout", N_LATENTS, "float32", order, capacity, metadata)
    writer.add(torch.from_numpy(codes), places)
    writer.finish({"keep_special": False})
    return Planted(folder, codes, tokens, documents, places)


def _codes(tokens: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Latent 0 never fires, 1 on every row, 2 on one token, 3 on one document, 4 once, 5 to 11 ever less often."""
    rng = np.random.default_rng(0)
    codes = rng.lognormal(size=(len(tokens), N_LATENTS)).astype(np.float32)
    fires = rng.random((len(tokens), N_LATENTS)) < 0.5 ** np.arange(-4, N_LATENTS - 4).clip(1)
    fires[:, 0], fires[:, 1] = False, True
    fires[:, 2] = tokens == np.bincount(tokens).argmax()
    fires[:, 3] = documents == documents[len(documents) // 2]
    fires[:, 4] = np.arange(len(tokens)) == 700
    return codes * fires
