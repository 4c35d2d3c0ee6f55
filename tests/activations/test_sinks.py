import json

import numpy as np
import pytest
import torch

from sae_stability.activations import sinks
from sae_stability.corpus.blocks import BlockFile
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from tests.activations.test_extract import contents, plain_rows

HOOKPOINTS = ["layers.0.mlp", "layers.1:in"]


def limits(outs) -> list[float]:
    return [json.loads((out / "manifest.json").read_text())["max_norm"] for out in outs]


@pytest.mark.parametrize("packing", [True, False])
def test_all_chunks_and_the_held_out_rows_share_a_limit(run, models, token_sets, tmp_path, packing):
    found = [
        limits(run("gpt_neox", chunk, packing=packing, hookpoint=HOOKPOINTS, max_norm_multiple=1.1))
        for chunk in (0, 1, 2, "heldout")
    ]
    assert found[1:] == [found[0]] * 3
    # Chunk 0 has fewer rows than a sample: the limit is that of all its rows.
    model = load_model(ModelSource(str(models["gpt_neox"])), "cpu")
    for hookpoint, limit in zip(HOOKPOINTS, found[0], strict=True):
        rows = plain_rows(model, token_sets("gpt_neox", packing), 0, hookpoint)
        assert limit == pytest.approx(1.1 * float(torch.stack(list(rows.values())).norm(dim=1).median()), rel=1e-4)


def test_held_out_sinks_are_those_above_the_limit_of_chunk_0(run, tmp_path):
    hookpoints = HOOKPOINTS[:1]
    everything, index = contents(run("gpt_neox", "heldout", hookpoint=hookpoints, out=tmp_path / "all")[0])
    out = run("gpt_neox", "heldout", hookpoint=hookpoints, max_norm_multiple=1.1)[0]
    expected = everything.norm(dim=1) <= limits([out])[0]
    activations, kept = contents(out)
    assert 0 < int((~expected).sum()) < 100
    assert np.array_equal(kept, index[expected.numpy()])
    assert torch.equal(activations, everything[expected])


def test_the_sample_is_of_random_whole_blocks(token_sets, monkeypatch):
    blocks = BlockFile(token_sets("bert", False, 1000), 0)  # one document a block, of many lengths
    monkeypatch.setattr(sinks, "SAMPLE_ROWS", 300)

    def sampled(keep_special: bool) -> tuple[np.ndarray, np.ndarray]:
        pairs = zip(sinks._sample(blocks, keep_special), blocks.kept(keep_special=keep_special), strict=True)
        chosen, every = zip(*((some[2].sum(axis=1), whole[2].sum(axis=1)) for some, whole in pairs), strict=True)
        return np.concatenate(chosen), np.concatenate(every)

    for keep_special in (False, True):
        chosen, every = sampled(keep_special)
        taken = chosen > 0
        assert np.array_equal(chosen[taken], every[taken])
        assert 300 <= chosen.sum() < 320
        assert 0.2 < np.flatnonzero(taken).mean() / len(taken) < 0.8
        assert every[taken].mean() == pytest.approx(every.mean(), rel=0.15)
        assert np.array_equal(sampled(keep_special)[0], chosen)
