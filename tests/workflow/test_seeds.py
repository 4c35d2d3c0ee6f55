"""What the SAEs of a cohort are trained and evaluated on: from the commands that Snakemake prints, and a real run."""

import itertools
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.tiny import tiny_corpus, tiny_gpt_neox
from tests.workflow.conftest import Project, new_project, tiny_study

# What may differ between the seeds of a cohort: the seed, the names of results and the fingerprints of their sources.
NAMES = r"seed-\d+|/seeds-[\d-]+|--(?:config|sae)-hash \w+|--checkpoint \S+|--threads \d+"
OWN = {"base": r"--init-seed \d+", "order": r"--order-seed \d+", "both": r"--(?:init|order)-seed \d+"}
SIZES = {"base": 2, "both": 2, "order": 3, "size-32": 2}


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, list[str]]:
    """Every command of training and evaluation of a study that has not run, by verb."""
    folder = tmp_path_factory.mktemp("seeds")
    study = tiny_study("model", "layers.{}.mlp")
    study["cohorts"]["order"] = {"init_seeds": [7], "order_seeds": [4, 0, 2]}
    study["cohorts"]["both"] = {"init_seeds": [3, 2], "order_seeds": [5, 6]}
    project = new_project(folder, study)
    tiny_gpt_neox(folder / "model")
    tiny_corpus(folder, documents=20)
    found = re.findall(r"python -m sae_stability (\S+) (.*) &> ", project.dry("--printshellcmds").output)
    return {verb: [rest for name, rest in found if name == verb] for verb in ("train", "evaluate")}


def cohorts(commands: list[str]) -> list[str]:
    return [re.search(r"(?:saes|states/seeds-[\d-]+)/([^/]+)/seed-", command)[1] for command in commands]


def test_the_seeds_of_a_cohort_are_evaluated_on_the_same_heldout_rows(printed: dict[str, list[str]]):
    # A shard's bytes are checked against its manifest when it is read, so one folder is one set of rows.
    chunks = [re.search(r"--chunk (\S+)", command)[1] for command in printed["evaluate"]]
    assert sorted(cohorts(printed["evaluate"])) == [name for name, size in SIZES.items() for _ in range(size)]
    assert len(set(chunks)) == 1
    assert Path(chunks[0]).parts[-4:] == ("activations", "first", "layers.0.mlp", "heldout")


@pytest.mark.parametrize(("verb", "per_seed"), [("train", 2), ("evaluate", 1)])
def test_the_commands_of_two_seeds_differ_in_the_seed_alone(printed: dict[str, list[str]], verb: str, per_seed: int):
    commands = printed[verb]
    assert len(commands) == sum(SIZES.values()) * per_seed
    assert len(set(commands)) == len(commands)
    alike = {
        (cohort, re.sub(f"{NAMES}|{OWN.get(cohort, OWN['base'])}", "", command))
        for cohort, command in zip(cohorts(commands), commands, strict=True)
    }
    assert len(alike) == len(SIZES) * per_seed


def test_an_sae_has_its_own_two_seeds_and_goes_by_the_one_that_varies(printed: dict[str, list[str]]):
    found = {
        (
            re.search(r"out results/(?:saes|states/seeds-[\d-]+)/(\S+/seed-\d+)", command)[1],
            *(int(re.search(rf"--{kind}-seed (\d+)", command)[1]) for kind in ("init", "order")),
        )
        for command in printed["train"]
    }
    base = {(f"{cohort}/seed-{seed}", seed, 0) for cohort in ("base", "size-32") for seed in (0, 1)}
    order = {(f"order/seed-{seed}", 7, seed) for seed in (4, 0, 2)}
    assert found == base | order | {("both/seed-3", 3, 5), ("both/seed-2", 2, 6)}


def test_a_seed_that_two_cohorts_share_gives_the_same_sae_and_another_seed_changes_what_it_should(
    finished_matrix: Project,
):
    results = finished_matrix.folder / "results"
    saes = {
        (cohort, seed): results / "saes" / cohort / f"seed-{seed}"
        for cohort, seed in itertools.product(("base", "order", "both"), (0, 1))
    }
    for name in ("sae.safetensors", "cfg.json", "metrics.json"):
        assert len({saes[cohort, 0].joinpath(name).read_bytes() for cohort in ("base", "order", "both")}) == 1
        assert len({path.joinpath(name).read_bytes() for path in saes.values()}) == 4
    batches = {key: json.loads((path / "metrics.json").read_text())["batches_sha256"] for key, path in saes.items()}
    assert batches["base", 0] == batches["base", 1], "an init seed changes weights only"
    assert batches["order", 0] != batches["order", 1] == batches["both", 1]


def test_every_sae_is_compared_with_the_weights_that_it_began_from(finished_matrix: Project):
    evaluation = finished_matrix.folder / "results" / "evaluation"
    for cohort in ("base", "order", "both"):
        latents = pd.read_parquet(evaluation / cohort / "seed-1.parquet")
        # Of other random rows, 16 wide, the mean cosine would be 0 within 0.04.
        assert latents["init_similarity_encoder"].mean() > 0.3


def test_the_figure_says_what_the_run_found(finished_matrix: Project):
    figures = finished_matrix.folder / "results" / "figures"
    table = pd.read_parquet(figures / "randomness.parquet").query("source == 'trained' and latents == 'all'")
    shared = table[table["statistic"] == "shared"].set_index("value")["fraction"]
    assert list(shared.index) == ["init", "order", "both"]
    points = 100 * abs(shared["init"] - shared["order"])
    caption = (figures / "randomness.rst").read_text()
    assert f"can be said to matter more ({points:.1f} percentage points; n = 1 pair has no spread)" in caption
