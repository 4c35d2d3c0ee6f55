"""The pool: the same windows for all SAEs, and every latent that fires in them."""

import dataclasses

import numpy as np
import pandas as pd

from sae_stability.corpus.blocks import BlockFile
from sae_stability.files import read_table
from sae_stability.firing.contexts import ContextSettings
from sae_stability.firing.job import measure_firing
from tests.firing.conftest import CONTEXT, N_LATENTS, Planted

SETTINGS = ContextSettings(window=8, pool=1000)
ORDER = np.roll(np.arange(N_LATENTS), 3)


def pools(planted: Planted, folder, settings: ContextSettings = SETTINGS) -> list[pd.DataFrame]:
    """The pools of an SAE and of one with the same latents in another order."""
    saes = {"0": planted.sae("one", np.arange(N_LATENTS)), "1": planted.sae("other", ORDER)}
    out = [(name, folder / f"{name}.parquet") for name in saes]
    measure_firing(
        sae=list(saes.items()),
        chunk=planted.chunk,
        tokens=planted.token_set,
        pool_out=out,
        contexts=settings,
        work=folder / "work",
    )
    return [read_table(path)[0] for _, path in out]


def test_every_window_names_all_latents_that_fire_in_it(planted: Planted, tmp_path):
    table, other = pools(planted, tmp_path)
    (_, some) = next(BlockFile(planted.token_set, "heldout").read())
    dense = np.zeros((some.tokens.size, N_LATENTS), np.float32)
    dense[planted.token_index] = planted.codes
    dense = dense.reshape(len(some), CONTEXT, N_LATENTS)
    for row, moved in zip(table.itertuples(), other.itertuples(), strict=True):
        part = slice(row.position, row.position + SETTINGS.window)
        fired = np.flatnonzero(dense[row.block, part].any(axis=0))
        assert row.latents.tolist() == fired.tolist()
        assert len(row.pieces) == len(row.tokens)
        assert row.tokens.tolist() == some.tokens[row.block, part][: len(row.tokens)].tolist()
        assert (moved.block, moved.position) == (row.block, row.position)
        assert sorted(ORDER[moved.latents].tolist()) == fired.tolist()
    assert table["latents"].map(len).sum() > 0


def test_a_small_pool_is_drawn_from_the_whole_by_its_seed(planted: Planted, tmp_path):
    def places(name: str, **changes) -> set:
        table = pools(planted, tmp_path / name, dataclasses.replace(SETTINGS, **changes))[0]
        return set(zip(table["block"], table["position"], strict=True))

    whole, few, again, other = (
        places("whole"),
        places("few", pool=7),
        places("again", pool=7),
        places("other", pool=7, seed=1),
    )
    assert few == again < whole
    assert len(few) == len(other) == 7
    assert few != other
