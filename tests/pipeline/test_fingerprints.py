"""What each result's fingerprint depends on."""

import copy
from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline
from sae_stability.pipeline.results import Results
from tests.study_config import small_config

STEPS = "sae_stability.sae.training.steps"
FORMATS = "sae_stability.sae.formats"


def prints(pipeline: Pipeline) -> dict[str, str]:
    """A fingerprint of each kind, of the base cohort."""
    found, cohort = pipeline.fingerprints, pipeline.study.cohorts["base"]
    return {
        "tokens": found.tokens(cohort.pass_.tokens),
        "activations": found.activations(cohort.pass_),
        "sae": found.sae(cohort, 0),
        "other seed": found.sae(cohort, 1),
        "evaluation": found.evaluation(cohort, 0),
        "match": found.match(cohort, 0, 1),
        "floor": found.floor(),
        "overlap": found.overlap(cohort),
        "table": found.table(pipeline.study.figures["joint"]),
        "drawing": found.drawing(pipeline.study.figures["joint"]),
        "summary": found.summary(),
        "report": found.report(),
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


FROM_DRAWING = {"drawing", "report"}
FROM_OVERLAP = {"overlap", "table", "summary", *FROM_DRAWING}
FROM_EVALUATION = {"evaluation", "match", *FROM_OVERLAP}
FROM_SAE = {"sae", "other seed", *FROM_EVALUATION}
FROM_ACTIVATIONS = FROM_SAE | {"activations"}


def edit(path: str, value: object):
    """A change of the setting at a dotted path."""

    def change(config: dict) -> None:
        *parents, last = path.split(".")
        for name in parents:
            config = config.setdefault(name, {})
        config[last] = value

    return change


def _as_by_default(config: dict) -> None:
    config["models"]["tiny"] |= {"weights": "trained", "seed": None}
    config["tokens"]["tiny-web"]["shuffle_tokens"] = False


CHANGES = {
    "a longer context": (edit("tokens.tiny-web.context_length", 8), FROM_ACTIVATIONS | {"tokens"}),
    "another shuffle": (edit("passes.mlp.shuffle_seed", 3), FROM_ACTIVATIONS),
    "shards deleted after use": (edit("passes.mlp.keep_shards", False), set()),
    "another learning rate": (edit("cohorts.base.learning_rate", 0.1), FROM_SAE),
    "more seeds a job": (edit("cohorts.base.seeds_per_job", 3), set()),
    "one seed more": (edit("cohorts.base.init_seeds", [0, 1, 2, 3]), FROM_OVERLAP),
    "TensorBoard": (edit("cohorts.base.tensorboard", True), set()),
    "the model's size, for the plan": (edit("models.tiny.parameters", 7), set()),
    "another revision of the model": (edit("models.tiny.revision", "abc"), FROM_ACTIVATIONS | {"tokens"}),
    "random weights": (edit("models.tiny.weights", "random"), FROM_ACTIVATIONS | {"tokens"}),
    "shuffled tokens": (edit("tokens.tiny-web.shuffle_tokens", True), FROM_ACTIVATIONS | {"tokens"}),
    "what both are by default": (_as_by_default, set()),
    "another device": (edit("device", "cuda"), FROM_ACTIVATIONS),
    "another threshold": (edit("threshold", 0.5), FROM_OVERLAP),
    "one floor more": (edit("floor", {"repeats": 7}), FROM_OVERLAP),
    "another style": (edit("figures.style", {"font_size": 7}), FROM_DRAWING),
    "another name": (edit("study", "renamed"), {"summary", "report"}),
    "another note": (edit("note", "of a model"), {"summary", "report"}),
}


def test_a_meta_sae_rests_on_the_sae_whose_rows_it_reads(pipeline_of):
    def made(alive: bool = False, **changes) -> list[str]:
        config = small_config()
        config["cohorts"]["base"] |= changes
        config["passes"]["rows"] = {"decoder_of": {"cohort": "base", "seed": 0}, "alive": alive}
        config["cohorts"]["meta"] = {"pass": "rows", "n_latents": 8, "batch_size": 16, "epochs": 20}
        pipeline = pipeline_of(config)
        meta = pipeline.study.cohorts["meta"]
        return [pipeline.fingerprints.activations(meta.pass_), pipeline.fingerprints.sae(meta, 0)]

    assert made(learning_rate=0.1) != made()
    assert all(one != other for one, other in zip(made(learning_rate=0.1), made(), strict=True))
    assert made(init_seeds=[0, 1, 2, 3]) == made(), "another SAE of the cohort is none of its business"
    assert made(alive=True)[0] != made()[0]


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_changes_what_is_made_from_it_and_nothing_else(pipeline_of, name: str):
    change, expected = CHANGES[name]
    config = small_config()
    before = prints(pipeline_of(copy.deepcopy(config)))
    change(config)
    assert changed(before, prints(pipeline_of(config))) == expected


CODE = {
    "tokenize": FROM_ACTIVATIONS | {"tokens"},
    "extract": FROM_ACTIVATIONS,
    "import-matrix": set(),
    "train": FROM_SAE,
    f"{STEPS}.topk": FROM_SAE,
    f"{STEPS}.jumprelu": set(),
    "evaluate": FROM_EVALUATION,
    f"{FORMATS}.own": FROM_EVALUATION,
    f"{FORMATS}.sparsify": set(),
    "match": {"match", *FROM_OVERLAP},
    "floor": {"floor", *FROM_OVERLAP},
    "overlap": FROM_OVERLAP,
    "figure-table": {"table", *FROM_DRAWING},
    "figure": FROM_DRAWING,
    "summary": {"summary", "report"},
}


@pytest.mark.parametrize("name", CODE)
def test_an_edit_of_code_changes_what_is_made_by_it_and_nothing_else(pipeline_of, edited: set[str], name: str):
    before = prints(pipeline_of())
    edited.add(name)
    assert changed(before, prints(pipeline_of())) == CODE[name]


def test_saes_of_two_seeds_or_two_orders_have_their_own_fingerprints(pipeline_of):
    config = small_config()
    config["cohorts"]["order"] = {
        "hookpoint": "layers.0.mlp",
        "n_latents": 64,
        "init_seeds": [0],
        "order_seeds": [0, 1],
    }
    pipeline = pipeline_of(config)
    base, order = pipeline.study.cohorts["base"], pipeline.study.cohorts["order"]
    of = pipeline.fingerprints.sae
    assert of(base, 0) == of(order, 0), "one pair of seeds is one SAE, whatever the cohort"
    assert len({of(base, 0), of(base, 1), of(order, 1)}) == 3


def test_a_matrix_is_known_by_its_content(pipeline_of, matrix_config: dict):
    import numpy as np

    def activations(pipeline: Pipeline) -> str:
        return pipeline.fingerprints.activations(pipeline.study.passes["own"])

    before = activations(pipeline_of(matrix_config))
    Path("rows.npy").touch()
    assert activations(pipeline_of(matrix_config)) == before
    np.save("rows.npy", np.ones((600, 7), np.float32))
    assert activations(pipeline_of(matrix_config)) != before


def of_all(pipeline: Pipeline) -> dict[tuple[str, int], str]:
    return {(cohort.slug, seed): pipeline.fingerprints.sae(cohort, seed) for cohort, seed in pipeline.saes}


def again(pipeline: Pipeline) -> dict[tuple[str, int], str]:
    return of_all(Pipeline(pipeline.study))


def test_an_edit_of_a_format_reads_only_saes_of_that_format_again(external_pipeline: Pipeline, edited: set[str]):
    before = of_all(external_pipeline)
    edited.add(f"{FORMATS}.sparsify")
    after = again(external_pipeline)
    # What an SAE on the hub is, no file tells before it is fetched: it may be of any format.
    assert changed(before, after) == {("local", 0), ("hub", 0), ("hub", 1)}


def test_training_code_reads_no_sae_again(external_pipeline: Pipeline, edited: set[str]):
    before = of_all(external_pipeline)
    edited.update({"train", f"{STEPS}.topk"})
    assert again(external_pipeline) == before


def test_an_sae_made_elsewhere_is_known_by_its_files_or_its_place(external_pipeline: Pipeline):
    before = of_all(external_pipeline)
    assert len(set(before.values())) == 4
    file = Path("checkpoints/saelens/cfg.json")
    file.write_text(file.read_text() + "\n")
    assert changed(before, again(external_pipeline)) == {("local", 1)}


def test_checksums_are_remembered_beside_the_results(external_pipeline: Pipeline):
    of_all(external_pipeline)
    assert Path(Results("results").contents).is_file()
