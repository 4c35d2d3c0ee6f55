"""Where results lie."""

from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline
from sae_stability.pipeline.results import Results


def test_chunks_have_four_digits_and_the_heldout_rows_a_name(pipeline: Pipeline):
    pass_, results = pipeline.study.passes["mlp"], pipeline.results
    assert results.manifest(pass_, "layers.0.mlp", 3) == "results/activations/mlp/layers.0.mlp/chunk-0003/manifest.json"
    assert results.activations(pass_, "layers.0.mlp", "heldout") == "results/activations/mlp/layers.0.mlp/heldout"
    # 1,000 rows a chunk and 500 held out, 300 a shard.
    assert len(results.shards(pass_, "layers.0.mlp", 0)) == 4
    assert results.shards(pass_, "layers.0.mlp", "heldout") == [
        f"results/activations/mlp/layers.0.mlp/heldout/shard-{number:04d}.safetensors" for number in (0, 1)
    ]


def test_a_rule_may_give_wildcards():
    results = Results("results")
    state = "results/states/seeds-0-1/{cohort}/seed-1/chunk-{chunk}.safetensors"
    assert results.state((0, 1), "{cohort}", 1, "{chunk}") == state
    assert state.format(cohort="base", chunk="0002") == results.state((0, 1), "base", 1, 2)
    assert results.latents("{cohort}", 4) == "results/evaluation/{cohort}/seed-4.parquet"


def test_no_two_results_share_a_path(pipeline: Pipeline):
    results, tokens = pipeline.results, pipeline.study.tokens["tiny-web"]
    files = [
        *(results.contents, results.checked, results.summary, results.workflow_report),
        *(results.report(ending) for ending in ("html", "pdf", "json")),
        *(results.token_manifest(tokens), results.heldout_tokens(tokens), *results.token_chunks(tokens)),
        *(results.match("base", 0, 1), results.floor(64, 32, 0), *results.overlap_tables("base")),
        *(results.state((0,), "base", 0, 0), results.checkpoint("base", 0, "f" * 16, 0)),
        *(results.weights("base", 0), results.settings("base", 0), results.metrics("base", 0)),
        *(results.history("base", 0), results.quality("base", 0), results.latents("base", 0)),
        *(results.figure("joint", ending) for ending in ("svg", "rst", "parquet")),
    ]
    assert len(set(files)) == len(files)
    assert all(file.startswith("results/") for file in files)


@pytest.mark.parametrize("root", ["results", "./results/", "some[where]/results"])
def test_blocks_begun_are_read_off_the_names_of_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str):
    monkeypatch.chdir(tmp_path)
    results = Results(root)
    assert results.blocks_begun("base", 1) == []
    for block, seed in (((0, 1), 0), ((0, 1), 1), ((10, 1), 1)):
        state = Path(results.state(block, "base", seed, 0))
        state.parent.mkdir(parents=True, exist_ok=True)
        state.touch()
    assert results.blocks_begun("base", 1) == [(0, 1), (10, 1)]
    assert results.blocks_begun("base", 10) == []
    assert results.blocks_begun("bas", 1) == []
