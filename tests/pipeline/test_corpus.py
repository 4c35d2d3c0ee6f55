"""The jobs that make token blocks."""

import json
from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, corpus
from tests.pipeline.words import flags_of
from tests.study_config import small_config


def test_there_is_a_file_for_each_chunk_and_one_held_out(pipeline: Pipeline):
    tokens = pipeline.study.tokens["tiny-web"]
    names = ["manifest.json", "heldout.parquet", *(f"chunk-{chunk:04d}.parquet" for chunk in range(4))]
    assert corpus.outputs(pipeline, tokens) == [f"results/tokens/tiny-web/{name}" for name in names]
    assert corpus.inputs(tokens) == [], "a data set on the hub is no local file"


def test_the_files_of_a_corpus_are_inputs(pipeline_of):
    for name in ("one.txt", "two.txt", "other.md"):
        Path(name).write_text("Some text.")
    config = small_config()
    config["corpora"]["web"] = {"kind": "files", "paths": ["*.txt"]}
    tokens = pipeline_of(config).study.tokens["tiny-web"]
    assert corpus.inputs(tokens) == ["one.txt", "two.txt"]


@pytest.mark.parametrize("packing", [True, False])
def test_a_command_holds_the_text_and_the_sizes(pipeline_of, packing: bool):
    config = small_config()
    config["tokens"]["tiny-web"]["packing"] = packing
    pipeline = pipeline_of(config)
    tokens = pipeline.study.tokens["tiny-web"]
    flags = flags_of(corpus.command(pipeline, tokens))
    assert json.loads(flags.pop("--corpus")[0]) == tokens.corpus.documents
    assert flags == {
        "--corpus-seed": ["0"],
        "--tokenizer": ["nobody/tiny"],
        "--context-length": ["16"],
        "--packing": [str(packing).lower()],
        "--heldout-tokens": ["500"],
        "--train-tokens": ["4000"],
        "--chunk-tokens": ["1000"],
        "--config-hash": [pipeline.fingerprints.tokens(tokens)],
    }
