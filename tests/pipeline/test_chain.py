"""What every result is made from, of the embedded study and of a small one on a matrix."""

from pathlib import Path

import pytest

from sae_stability.files import read_json
from sae_stability.pipeline import FINGERPRINTED
from sae_stability.pipeline.chain import provenance
from sae_stability.provenance.links import chain
from sae_stability.study.schema import load_yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def embedded(pipeline_of) -> dict:
    """The note of the embedded study."""
    config = load_yaml(ROOT / "config.yaml")
    return provenance(pipeline_of(config), config)


def test_every_result_of_the_embedded_study_comes_from_text_and_model(embedded: dict):
    results, sources = embedded["results"], embedded["sources"]
    # The embedded study reads no SAEs made elsewhere, and measures firing on the tokens that it keeps.
    assert FINGERPRINTED.keys() - {name.partition(" ")[0] for name in results} == {"external", "fresh_tokens"}
    for name, result in results.items():
        behind = chain(embedded, [name])
        assert set(behind) <= results.keys() | sources.keys(), name
        assert name.startswith("floors ") or {"model", "text"} <= {one.partition(" ")[0] for one in behind}, name
        assert not any(file.startswith("results/") for file in result["files"])
    assert "revision" not in sources["model minilm"]
    assert sources["model minilm"]["sha256"]
    assert sources["text docstrings"]["contents"]["numpy"]


def test_a_step_comes_before_all_that_it_is_made_from(embedded: dict):
    order = {name: place for place, name in enumerate(chain(embedded, ["report report", "explorer explorer"]))}
    for name in order.keys() & embedded["results"].keys():
        assert all(order[name] < order[source] for source in embedded["results"][name]["made_from"])


def test_a_matrix_is_a_source(pipeline_of, matrix_config: dict):
    note = provenance(pipeline_of(matrix_config), matrix_config)
    assert note["results"]["activations own heldout matrix"]["made_from"] == ["matrix own"]
    assert note["results"]["activations own heldout matrix"]["verb"] == "import-matrix"
    assert len(note["sources"]["matrix own"]["sha256"]) == 64


def test_the_note_is_written_once(pipeline_of):
    pipeline = pipeline_of()
    pipeline.note_provenance({"study": "small"})
    note = pipeline.results.provenance
    first = read_json(note)
    pipeline.note_provenance({"study": "small"})
    assert read_json(note) == first
    pipeline.note_provenance({"study": "other"})
    assert read_json(note)["config"] == {"study": "other"}
