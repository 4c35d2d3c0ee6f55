"""The jobs that make activations."""

from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, activations, corpus
from tests.pipeline.words import flags_of
from tests.study_config import small_config

HOOKS = ["layers.0.mlp", "layers.1.mlp"]


def test_every_hookpoint_has_its_own_files(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    folder = "results/activations/mlp"
    assert activations.manifests(pipeline, pass_, 1) == [f"{folder}/{hook}/chunk-0001/manifest.json" for hook in HOOKS]
    assert len(activations.shards(pipeline, pass_, 1)) == 2 * 4
    # Four chunks of four shards and the held-out rows in two, at two hookpoints, with a manifest each.
    assert len(set(activations.outputs(pipeline, pass_))) == 2 * (4 * (4 + 1) + 2 + 1)


def test_chunks_that_no_cohort_trains_on_are_not_asked_for(pipeline_of):
    config = small_config()
    config["cohorts"]["base"]["tokens"] = 1800
    pipeline = pipeline_of(config)
    files = activations.outputs(pipeline, pipeline.study.passes["mlp"])
    assert {Path(file).parent.name for file in files} == {"heldout", "chunk-0000", "chunk-0001"}


def test_a_command_pairs_hookpoints_with_folders(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    flags = flags_of(activations.command(pipeline, pass_, 2))
    assert activations.verb(pass_) == "extract"
    assert flags["--hookpoint"] == HOOKS
    assert flags["--out"] == [f"results/activations/mlp/{hook}/chunk-0002" for hook in HOOKS]
    assert (flags["--chunk"], flags["--chunk-tokens"], flags["--shard-rows"]) == (["0002"], ["1000"], ["300"])
    assert flags["--config-hash"] == [pipeline.fingerprints.activations(pass_)]
    assert flags["--tokens"] == ["results/tokens/tiny-web"]
    assert not {"--sha256", "--max-norm-multiple"} & set(flags)


def test_a_rule_gives_a_wildcard_for_the_chunk(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    for_rule = activations.command(pipeline, pass_, "{chunk}").replace("{chunk}", "0003")
    assert flags_of(for_rule) == flags_of(activations.command(pipeline, pass_, 3))


def test_a_matrix_stands_in_for_model_and_text(pipeline_of, matrix_config: dict):
    pipeline = pipeline_of(matrix_config)
    pass_ = pipeline.study.passes["own"]
    flags = flags_of(activations.command(pipeline, pass_, "heldout"))
    assert activations.verb(pass_) == "import-matrix"
    assert activations.source(pipeline, pass_, 0) == ["rows.npy"]
    assert flags["--out"] == ["results/activations/own/matrix/heldout"]
    assert flags["--chunk"] == ["heldout"]
    assert flags["--matrix"] == ["rows.npy"]
    assert not {"--hookpoint", "--model", "--device"} & set(flags)


def test_decoder_rows_are_made_from_the_saes_that_the_pass_names(pipeline_of):
    config = small_config()
    config["passes"]["rows"] = {"decoder_of": [{"cohort": "base", "seed": 1}, {"cohort": "size-32"}], "alive": True}
    pipeline = pipeline_of(config)
    pass_ = pipeline.study.passes["rows"]
    flags = flags_of(activations.command(pipeline, pass_, 0))
    saes = ["base/seed-1", "size-32/seed-0", "size-32/seed-1"]
    assert activations.verb(pass_) == "decoder-rows"
    assert flags["--sae"] == [f"results/saes/{sae}" for sae in saes]
    assert flags["--latents"] == [f"results/evaluation/{sae}.parquet" for sae in saes]
    asked = pipeline.study.cohorts["base"], 1
    assert flags["--sae-hash"][0] == pipeline.fingerprints.sae(*asked)
    assert flags["--latents-hash"][0] == pipeline.fingerprints.evaluation(*asked)
    named = set(activations.source(pipeline, pass_, 0))
    assert named >= {f"results/saes/{sae}/sae.safetensors" for sae in saes} | set(flags["--latents"])


def test_a_chunk_is_made_from_its_own_token_blocks(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    manifest, heldout, *chunks = corpus.outputs(pipeline, pass_.tokens)
    assert activations.source(pipeline, pass_, "0001") == [manifest, chunks[1]]
    assert activations.source(pipeline, pass_, "heldout") == [manifest, heldout]
    assert manifest.endswith("manifest.json"), "its folder goes on the command line"


def test_a_limit_on_norms_reads_the_first_chunk_too(pipeline_of):
    config = small_config()
    config["passes"]["mlp"]["max_norm_multiple"] = 10
    pipeline = pipeline_of(config)
    pass_ = pipeline.study.passes["mlp"]
    manifest, heldout, first, *others = corpus.outputs(pipeline, pass_.tokens)
    assert activations.source(pipeline, pass_, 0) == [manifest, first]
    assert activations.source(pipeline, pass_, 1) == [manifest, others[0], first]
    assert activations.source(pipeline, pass_, "heldout") == [manifest, heldout, first]


@pytest.fixture
def short_of_disk(pipeline_of) -> Pipeline:
    """Shards are deleted after use; the sweep's second cohort stops after two chunks."""
    config = small_config()
    config["passes"]["mlp"]["keep_shards"] = False
    config["cohorts"]["short"] = {"hookpoint": "layers.1.mlp", "n_latents": 32, "tokens": 2000, "init_seeds": [5, 6]}
    return pipeline_of(config)


def test_kept_shards_wait_for_nothing(pipeline: Pipeline):
    pass_ = pipeline.study.passes["mlp"]
    assert [activations.waits_for(pipeline, pass_, chunk) for chunk in ("heldout", 0, 3)] == [[], [], []]


def test_extraction_runs_one_chunk_ahead_of_training(short_of_disk: Pipeline):
    pass_ = short_of_disk.study.passes["mlp"]
    first = [activations.waits_for(short_of_disk, pass_, chunk) for chunk in ("heldout", 0, 1)]
    assert first == [[], [], []], "nothing is trained on yet"
    states = {chunk: activations.waits_for(short_of_disk, pass_, chunk) for chunk in (2, 3)}
    after = {chunk: {Path(state).name for state in found} for chunk, found in states.items()}
    assert after == {2: {"chunk-0000.safetensors"}, 3: {"chunk-0001.safetensors"}}
    saes = {chunk: {"/".join(Path(state).parts[-3:-1]) for state in found} for chunk, found in states.items()}
    base = {f"base/seed-{seed}" for seed in (0, 1, 2)} | {f"size-32/seed-{seed}" for seed in (0, 1)}
    assert saes[2] == base | {"short/seed-5", "short/seed-6"}
    assert saes[3] == base, "an SAE leaves no state after its last chunk"


def test_extraction_waits_for_no_finished_sae(short_of_disk: Pipeline):
    short_of_disk.unfinished["train"] = [("base", 1)]
    pass_ = short_of_disk.study.passes["mlp"]
    assert activations.waits_for(short_of_disk, pass_, "0002") == [
        "results/states/seeds-1/base/seed-1/chunk-0000.safetensors"
    ]
