"""Contexts: what they hold, which are chosen, and that no block serves both splits of a latent."""

import numpy as np
import pandas as pd
import pytest

from sae_stability.corpus.blocks import BlockFile
from sae_stability.files import read_table
from sae_stability.firing.contexts import ContextSettings
from sae_stability.firing.job import measure_firing
from sae_stability.firing.pieces import pieces
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from tests.firing.conftest import CONTEXT, N_LATENTS, Planted

SETTINGS = ContextSettings(window=8, top=5, decile=2, random=4)


def contexts(planted: Planted, folder, settings: ContextSettings = SETTINGS) -> pd.DataFrame:
    measure_firing(
        sae=[("0", planted.sae("one", np.arange(N_LATENTS)))],
        chunk=planted.chunk,
        tokens=planted.token_set,
        contexts_out=[("0", folder / "contexts.parquet")],
        contexts=settings,
        work=folder / "work",
    )
    return read_table(folder / "contexts.parquet")[0]


@pytest.fixture(scope="module")
def table(planted: Planted, tmp_path_factory) -> pd.DataFrame:
    return contexts(planted, tmp_path_factory.mktemp("contexts"))


@pytest.fixture(scope="module")
def activations(planted: Planted) -> np.ndarray:
    """Activations on every token of every block, (blocks, CONTEXT, N_LATENTS); 0 where there is no row."""
    (_, some) = next(BlockFile(planted.token_set, "heldout").read())
    dense = np.zeros((some.tokens.size, N_LATENTS), np.float32)
    dense[planted.token_index] = planted.codes
    return dense.reshape(len(some), CONTEXT, N_LATENTS)


def test_a_context_is_what_stands_in_its_block(planted: Planted, table: pd.DataFrame, activations: np.ndarray):
    (_, some) = next(BlockFile(planted.token_set, "heldout").read())
    for row in table.itertuples():
        part = slice(row.position, min(row.position + SETTINGS.window, CONTEXT))
        assert row.position % SETTINGS.window == 0
        assert row.tokens.tolist() == some.tokens[row.block, part].tolist()
        assert np.array_equal(row.activations, activations[row.block, part, row.latent])
        assert row.activation == row.activations.max()
        assert (row.activation == 0) == (row.stratum == "random")
        assert len(row.pieces) == len(row.tokens)


def test_no_block_serves_both_splits_of_a_latent(table: pd.DataFrame):
    assert (table.groupby(["latent", "block"])["split"].nunique() == 1).all()
    assert not table.duplicated(["latent", "block", "position"]).any()
    # The same block may serve another latent otherwise.
    assert (table.groupby("block")["split"].nunique() == 2).any()


def test_strata_against_a_slow_reference(table: pd.DataFrame, activations: np.ndarray):
    """Top ones are the strongest of their split; a decile is that of all windows in which the latent fires."""
    starts = range(0, CONTEXT, SETTINGS.window)
    peaks = np.stack([activations[:, start : start + SETTINGS.window].max(axis=1) for start in starts], axis=1)
    for latent in range(1, N_LATENTS):
        fires = np.sort(peaks[..., latent][peaks[..., latent] > 0])
        mine = table[table.latent == latent]
        for split, part in mine[mine.stratum != "random"].groupby("split"):
            top = part[part.stratum == "top"].activation
            assert top.is_monotonic_decreasing
            assert top.min() >= part[part.stratum != "top"].activation.max() or len(part) == len(top), split
        for row in mine[mine.stratum.str.startswith("decile")].itertuples():
            rank = np.searchsorted(fires, row.activation)
            assert row.stratum == f"decile-{rank * 10 // len(fires) + 1}"
        sizes = mine.groupby(["split", "stratum"]).size()
        limits = [SETTINGS.decile if name.startswith("decile") else SETTINGS.top for _, name in sizes.index]
        assert (sizes <= limits).all()


def test_a_common_latent_fills_every_stratum_of_both_splits(table: pd.DataFrame):
    latent = 7
    sizes = table[table.latent == latent].groupby(["split", "stratum"]).size()
    for split in ("explain", "score"):
        assert sizes[split, "top"] == SETTINGS.top
        assert sizes[split, "random"] == SETTINGS.random
        assert [sizes.get((split, f"decile-{number}"), 0) for number in range(1, 9)] == [SETTINGS.decile] * 8
    assert not table[table.latent == latent].rare.any()


def test_a_latent_that_fires_once_is_kept_and_marked(table: pd.DataFrame):
    once = table[table.latent == 4]
    assert once.rare.all()
    assert (once.stratum == "top").sum() == 1
    assert once[once.stratum == "top"].split.tolist() == ["explain"]
    assert set(once[once.stratum == "random"].split) == {"explain", "score"}


def test_a_latent_that_never_fires_has_none_and_one_that_always_fires_no_random_ones(table: pd.DataFrame):
    assert 0 not in set(table.latent)
    assert "random" not in set(table[table.latent == 1].stratum)


def test_both_splits_get_strong_and_weak_blocks(table: pd.DataFrame):
    strongest = table[(table.stratum == "top") & ~table.rare].groupby(["latent", "split"]).activation.max().unstack()
    assert ((strongest.min(axis=1) / strongest.max(axis=1)) > 0.3).all()


def test_another_seed_draws_others_and_the_same_seed_the_same(planted: Planted, table: pd.DataFrame, tmp_path):
    pd.testing.assert_frame_equal(contexts(planted, tmp_path), table)
    other = contexts(planted, tmp_path, ContextSettings(window=8, top=5, decile=2, random=4, seed=1))
    assert not other.block.equals(table.block)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_pieces_join_to_the_text(kind: str, tmp_path):
    from tests import tiny

    make = {"bert": tiny.tiny_bert, "gpt2": tiny.tiny_gpt2, "llama": tiny.tiny_llama}[kind]
    tokenizer = load_tokenizer(ModelSource(str(make(tmp_path / kind))))
    text = "The naïve café — 日本🙂 holds\n  a stone."
    if kind == "bert":  # its tokenizer keeps neither capitals nor space
        text = "the river holds a stone. near the gardens."
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = pieces(tokenizer, tokens)
    assert len(found) == len(tokens) < len(text)
    assert "".join(found) == text
    assert not any("##" in piece or "Ġ" in piece for piece in found)
    # From the middle of a character on, the rest still joins.
    assert "".join(pieces(tokenizer, tokens[5:])).endswith(text[-6:])


@pytest.mark.parametrize("blocked", ["contexts_out", "pool_out"])
def test_a_table_of_firing_means_that_contexts_and_pool_are_there(planted: Planted, tmp_path, blocked: str):
    files = {name: tmp_path / f"{name}.parquet" for name in ("out", "contexts_out", "pool_out")}
    files[blocked].mkdir()  # so the job dies when it writes this one
    with pytest.raises(OSError, match=blocked):
        measure_firing(
            sae=[("0", planted.sae("one", np.arange(N_LATENTS)))],
            chunk=planted.chunk,
            tokens=planted.token_set,
            contexts=SETTINGS,
            work=tmp_path / "work",
            **{name: [("0", file)] for name, file in files.items()},
        )
    assert not files["out"].exists()
