"""The jobs that read SAEs made elsewhere."""

from pathlib import Path

from sae_stability.pipeline import Pipeline, evaluate, external, match, overlap, summary, train
from sae_stability.pipeline.rates import rates_of
from sae_stability.pipeline.results import fetched_name
from sae_stability.study.parts import ExternalCohort
from tests.pipeline.words import flags_of
from tests.study_config import small_config


def command(pipeline: Pipeline, cohort: ExternalCohort, seed: int) -> dict[str, list[str]]:
    """The flags of the job that reads an SAE."""
    return flags_of(external.command(pipeline, cohort, seed))


def test_a_local_sae_is_read_from_its_own_files(external_pipeline: Pipeline):
    cohort = external_pipeline.study.cohorts["local"]
    assert external.inputs(external_pipeline.results, cohort, 0) == [
        "checkpoints/sparsify/cfg.json",
        "checkpoints/sparsify/sae.safetensors",
    ]
    flags = command(external_pipeline, cohort, 1)
    assert flags == {
        "--checkpoint": ["checkpoints/saelens"],
        "--format": ["saelens"],
        "--n-latents": ["16"],
        "--d-model": ["8"],
        "--config-hash": [external_pipeline.fingerprints.sae(cohort, 1)],
    }


def test_an_sae_on_the_hub_is_fetched_first(external_pipeline: Pipeline):
    cohort = external_pipeline.study.cohorts["hub"]
    hub = external.on_the_hub(external_pipeline.study)
    assert list(hub.values()) == list(cohort.saes)
    (folder,) = external.inputs(external_pipeline.results, cohort, 1)
    assert folder == f"results/fetched/{fetched_name(cohort.saes[1])}"
    flags = command(external_pipeline, cohort, 1)
    assert flags["--checkpoint"] == [f"{folder}/layer/1"]
    assert "--format" not in flags, "no file tells it yet"
    assert flags_of(external.fetch_command(hub[Path(folder).name])) == {
        "--repo": ["some/saes"],
        "--folder": ["layer/1"],
        "--revision": ["abc"],
    }


def test_the_stated_format_is_taken(external_pipeline: Pipeline):
    import dataclasses

    cohort = dataclasses.replace(external_pipeline.study.cohorts["hub"], format="gemma_scope")
    assert external.format_of(cohort, 0) == "gemma_scope"
    assert command(external_pipeline, cohort, 0)["--format"] == ["gemma_scope"]


def test_they_take_the_place_of_training(external_pipeline: Pipeline):
    assert external.jobs(external_pipeline) == {"local": [0, 1], "hub": [0, 1]}
    assert train.jobs(external_pipeline) == {}
    external_pipeline.unfinished["external"] = [("hub", 1)]
    assert external.jobs(external_pipeline) == {"hub": [1]}


def test_without_activations_they_are_evaluated_by_themselves(external_pipeline: Pipeline):
    cohort = external_pipeline.study.cohorts["local"]
    files = evaluate.inputs(external_pipeline, cohort, (1,))
    assert files == {
        "heldout": [],
        "tokens": [],
        "saes": ["results/saes/local/seed-1/cfg.json", "results/saes/local/seed-1/sae.safetensors"],
    }
    flags = flags_of(evaluate.command(external_pipeline, cohort, (1,)))
    assert not {"--chunk", "--tokens", "--model", "--activations-hash"} & set(flags)
    assert flags["--sae"] == ["results/saes/local/seed-1"]


def test_a_single_one_is_read_and_evaluated_but_not_compared(pipeline_of):
    config = small_config()
    sae = {"repo": "some/saes", "folder": "one"}
    alone = {"saes": [sae], "n_latents": 128, "d_model": 32, "hookpoint": "layers.0.mlp"}
    config["cohorts"] = {"alone": alone, **config["cohorts"]}
    pipeline = pipeline_of(config)
    assert pipeline.unfinished["external"] == [("alone", 0)]
    assert set(pipeline.unfinished["overlap"]) == {"base", "size-32"}
    assert (128, 32) not in pipeline.study.shapes
    assert match.jobs(pipeline).keys() == {"base", "size_32"}
    assert match.cost(pipeline.study, rates_of(pipeline.study)).jobs == 2
    assert not any("/alone/" in file for file in overlap.outputs(pipeline))
    words = flags_of(summary.command(pipeline))
    assert words["--base"] == ["base"]
    assert "alone=results/evaluation/alone/seed-0.json" in words["--evaluation"]
