"""docs/formats.md against the files of a finished study: columns, types and keys, in both directions."""

import re

import pyarrow.parquet as pq
import pytest

from sae_stability.files import read_json, read_metadata
from sae_stability.pipeline.results import OVERLAP_TABLES
from sae_stability.sae.training.settings import TrainSettings
from tests import pages
from tests.workflow.conftest import Project

TOKENS = "Token blocks: `tokens/TOKENS/`"
ACTIVATIONS = "Activation shards: `activations/PASS/HOOKPOINT/CHUNK/`"
SAE = "SAE: `saes/COHORT/seed-N/`"
EVALUATION = "Evaluation: `evaluation/COHORT/`"
MATCH = "Match: `matches/COHORT/A-B.parquet`, `floors/`"
OVERLAP = "Overlap tables: `overlap/COHORT/`"


def text(heading: str) -> str:
    return pages.section(pages.FORMATS, heading)


@pytest.mark.parametrize(
    ("heading", "file"),
    [
        (TOKENS, "tokens/stories/heldout.parquet"),
        (TOKENS, "tokens/stories/chunk-0001.parquet"),
        (SAE, "saes/base/seed-0/history.parquet"),
        (EVALUATION, "evaluation/base/seed-0.parquet"),
        (MATCH, "matches/base/0-1.parquet"),
        (MATCH, "floors/48x32/0.parquet"),
    ],
)
def test_the_columns_and_types_of_a_table(heading: str, file: str, finished_neox: Project):
    schema = pq.read_schema(finished_neox.folder / "results" / file)
    listed = pages.column_types(text(heading))
    found = {field.name: str(getattr(field.type, "value_type", field.type)) for field in schema}
    assert found == {name: words.split(",")[0] for name, words in listed.items()}


@pytest.mark.parametrize("table", OVERLAP_TABLES)
def test_the_columns_of_an_overlap_table(table: str, finished_neox: Project):
    listed = pages.columns_of_each(text(OVERLAP), "file")
    assert listed.keys() == {f"{name}.parquet" for name in OVERLAP_TABLES}
    schema = pq.read_schema(finished_neox.folder / "results" / "overlap" / "base" / f"{table}.parquet")
    assert set(schema.names) == listed[f"{table}.parquet"]


@pytest.mark.parametrize(
    ("heading", "file"),
    [
        (TOKENS, "tokens/stories/manifest.json"),
        (ACTIVATIONS, "activations/first/layers.0.mlp/heldout/manifest.json"),
        (SAE, "saes/base/seed-0/cfg.json"),
        (SAE, "saes/base/seed-0/metrics.json"),
        (SAE, "saes/base/seed-0/timing.json"),
        (EVALUATION, "evaluation/base/seed-0.json"),
    ],
)
def test_every_key_of_a_json_file_is_named(heading: str, file: str, finished_neox: Project):
    named = set(re.findall(r"`(\w+)`", text(heading))) | {"format"}
    if file.endswith("cfg.json"):
        named |= TrainSettings.__dataclass_fields__.keys()
    content = read_json(finished_neox.folder / "results" / file)
    assert content.keys() - named == set()


def test_the_metadata_of_a_match_is_named(finished_neox: Project):
    metadata = read_metadata(finished_neox.folder / "results/matches/base/0-1.parquet")
    named = set(re.findall(r"`(\w+)`", text(MATCH)))
    assert metadata.keys() | metadata["a"].keys() | metadata["encoder"].keys() <= named


def test_every_folder_and_file_at_the_top_is_in_the_tree(finished_neox: Project):
    tree = re.search(r"^results/\n(.*?)```", pages.FORMATS.read_text(), re.DOTALL | re.MULTILINE)[1]
    found = {path.name for path in (finished_neox.folder / "results").iterdir()}
    assert {name for name in found if name not in tree} == set()
