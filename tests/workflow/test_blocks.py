"""Training jobs that take several seeds, shown by real Snakemake runs."""

import re
import shutil
from collections import Counter

import pytest

from tests.workflow.conftest import Project, Run

SAES = "saes/base/seed-[01]/*.safetensors"


@pytest.fixture
def untrained(neox: Project) -> Project:
    """The finished study, with two seeds a job from now on, after the SAEs of the base cohort were deleted."""
    neox.edit(lambda study: study["cohort_defaults"].update(seeds_per_job=2))
    for seed in (0, 1):
        shutil.rmtree(neox.folder / "results" / "saes" / "base" / f"seed-{seed}")
    return neox


def train(project: Project, seeds) -> Counter:
    """Train the base cohort with these seeds; the training rules that ran, with the seeds in their names."""
    project.edit(lambda study: study["cohorts"]["base"].update(init_seeds=list(seeds)))
    files = [f"results/saes/base/seed-{seed}/cfg.json" for seed in seeds]
    # A finished SAE is a given file, and no rule's.
    unfinished = [file for file in files if not (project.folder / file).exists()]
    assert unfinished
    return rules(project.snakemake(*unfinished))


def rules(run: Run) -> Counter:
    return Counter(re.findall(r"^(?:local)?rule (train\w*):", run.output, re.MULTILINE))


def test_a_block_makes_the_same_saes_and_a_new_seed_trains_itself_alone(untrained: Project, finished_neox: Project):
    chunks = ("train_chunk_seeds_{}", "train_seeds_{}")
    assert train(untrained, [0, 1, 2]) == {name.format(block): 1 for name in chunks for block in ("0_1", "2")}
    assert untrained.files(SAES) == finished_neox.files(SAES)
    before = untrained.files("saes/base/*/*")
    assert train(untrained, [0, 1, 2, 3]) == {name.format("3"): 1 for name in chunks}
    assert before.items() <= untrained.files("saes/base/*/*").items()


def test_what_is_between_two_chunks_stays_in_its_block(untrained: Project, finished_neox: Project):
    states = [f"results/states/seeds-0-1/base/seed-{seed}/chunk-0000.safetensors" for seed in (0, 1)]
    assert rules(untrained.snakemake(*states, "--notemp")) == {"train_chunk_seeds_0_1": 1}
    untrained.edit(lambda study: study["cohort_defaults"].update(seeds_per_job=3))
    assert train(untrained, [0, 1, 2]) == {"train_seeds_0_1": 1, "train_chunk_seeds_2": 1, "train_seeds_2": 1}
    assert untrained.files(SAES) == finished_neox.files(SAES)


def test_saes_of_two_orders_never_share_a_job(neox: Project):
    def add(study):
        study["cohort_defaults"]["seeds_per_job"] = 2
        study["cohorts"]["order"] = {"hookpoint": "layers.0.mlp", "init_seeds": [0], "order_seeds": [0, 1]}

    neox.edit(add)
    for seed in (0, 1):
        # As if both had been begun together, when the cohort varied its init seed.
        state = neox.folder / f"results/states/seeds-0-1/order/seed-{seed}/chunk-0000.safetensors"
        state.parent.mkdir(parents=True)
        state.touch()
    assert set(rules(neox.dry("saes"))) == {
        f"{rule}_seeds_{seed}" for rule in ("train", "train_chunk") for seed in (0, 1)
    }
