"""The job that makes the explorer."""

import json

import pytest

from sae_stability.pipeline import Pipeline, explorer
from sae_stability.pipeline.rates import rates_of
from tests.pipeline.words import flags_of
from tests.study.test_interpret import config

FOLDERS = ("overlap", "evaluation", "matches", "firing", "contexts", "cofiring", "explanations", "scores", "sae")


@pytest.fixture
def interpreted(pipeline_of) -> Pipeline:
    return pipeline_of(config())


def test_the_folders_of_a_command_are_those_of_its_inputs(interpreted: Pipeline):
    flags = flags_of(explorer.command(interpreted))
    named = {word.partition("=")[2] for flag in FOLDERS for word in flags[f"--{flag}"]}
    files = explorer.inputs(interpreted)
    assert len(files) == len(set(files))
    assert named == {file.rpartition("/")[0] for file in files}
    assert flags["--overlap"] == ["base=results/overlap/base", "size-32=results/overlap/size-32"]
    assert flags["--contexts"] == ["base=results/contexts/base"]
    assert "words/detection/base=results/scores/words/detection/base" in flags["--scores"]
    assert "base=model: nobody/tiny" in flags["--about"]


def test_stitched_pairs_are_read_and_count(pipeline_of):
    chain = [{"cohort": "size-32"}, {"cohort": "base"}]
    stitched, alone = pipeline_of(config() | {"stitches": {"sizes": {"chain": chain}}}), pipeline_of(config())
    assert flags_of(explorer.command(stitched))["--stitch"] == ["results/stitch/sizes/1"]
    added = set(explorer.inputs(stitched)) - set(explorer.inputs(alone))
    assert added == {
        f"results/stitch/sizes/1/{name}" for name in ("stitch.json", "insertions.parquet", "components.parquet")
    }
    assert stitched.fingerprints.explorer() != alone.fingerprints.explorer()


def test_groups_and_meta_saes_are_read_and_count(pipeline_of):
    changed = config()
    changed["passes"]["rows"] = {"decoder_of": [{"cohort": "base", "seed": 2}]}
    changed["cohorts"]["parts"] = {"pass": "rows", "n_latents": 8, "batch_size": 16, "epochs": 20}
    plain = pipeline_of(changed)
    changed["figures"]["draw"]["consensus"] = {"cohort": "base"}
    drawn = pipeline_of(changed)
    flags = flags_of(explorer.command(drawn))
    assert flags["--consensus"] == ["base=results/consensus/base"]
    assert "2/base=results/saes/base/seed-2" in flags["--sae"]
    assert flags["--meta"] == [f"2/base=results/saes/parts/seed-{drawn.study.cohorts['parts'].seeds[0]}"]
    added = set(explorer.inputs(drawn)) - set(explorer.inputs(plain))
    assert added == {"results/consensus/base/groups.parquet"}
    assert "results/saes/base/seed-2/sae.safetensors" in explorer.inputs(plain)
    marks = [pipeline.fingerprints.explorer() for pipeline in (pipeline_of(config()), plain, drawn)]
    assert len(set(marks)) == 3


def test_models_with_a_head_are_named_with_the_saes_that_read_them(pipeline_of, tmp_path):
    changed = config()
    changed["passes"]["rows"] = {"decoder_of": [{"cohort": "base", "seed": 2}]}
    changed["cohorts"]["parts"] = {"pass": "rows", "n_latents": 8, "batch_size": 16, "epochs": 20}
    found = pipeline_of(changed)
    flags = flags_of(explorer.command(found))
    # Nobody has looked into a model on the hub, so the job finds out.
    given = dict(word.split("=") for word in flags["--head"])
    assert given.keys() == found.study.compared.keys()
    assert json.loads(given["parts"])["name"] == "nobody/tiny"
    assert {f"{seed}/base" for seed in (0, 1, 2)} <= {word.partition("=")[0] for word in flags["--sae"]}
    (tmp_path / "model").mkdir()
    changed["models"]["tiny"]["name"] = str(tmp_path / "model")
    for architecture, known in (("BertModel", 0), ("LlamaForCausalLM", 3)):
        about = {"architectures": [architecture], "hidden_size": 32}
        (tmp_path / "model/config.json").write_text(json.dumps(about))
        flags = flags_of(explorer.command(pipeline_of(changed)))
        assert len(flags.get("--head", [])) == known


def test_a_matrix_has_no_contexts(pipeline_of, matrix_config: dict):
    pipeline = pipeline_of(matrix_config | {"firing": {"cohorts": ["base"]}})
    assert "--contexts" not in flags_of(explorer.command(pipeline))
    assert explorer.targets(pipeline) == ["results/explorer/index.html"]


def test_a_study_that_measures_no_firing_does_not_make_it_by_itself(pipeline: Pipeline):
    assert explorer.targets(pipeline) == []
    assert explorer.cost(pipeline.study, rates_of(pipeline.study)) is None


def test_an_edited_page_makes_the_site_again(interpreted: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path):
    before = interpreted.fingerprints.explorer()
    assert before == interpreted.fingerprints.explorer()
    (tmp_path / "explorer" / "site").mkdir(parents=True)
    (tmp_path / "explorer" / "site" / "page.js").write_text("edited")
    monkeypatch.setattr(explorer, "PACKAGE", tmp_path)
    explorer.site_digest.cache_clear()
    assert interpreted.fingerprints.explorer() != before
    explorer.site_digest.cache_clear()
