"""What two seeds of a cohort are trained and evaluated on, from the commands that Snakemake prints."""

import re
from pathlib import Path

import pytest
from tests.tiny import tiny_corpus, tiny_gpt_neox
from tests.workflow.conftest import new_project, tiny_study

# What may differ between the seeds of a cohort: the seed, the names of results and the fingerprints of their sources.
OWN = r"seed-\d+|--init-seed \d+|--(?:config|sae)-hash \w+|--checkpoint \S+|--threads \d+"


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, list[str]]:
    """Every command of training and evaluation of a study that has not run, by verb."""
    folder = tmp_path_factory.mktemp("seeds")
    project = new_project(folder, tiny_study("model", "layers.{}.mlp"))
    tiny_gpt_neox(folder / "model")
    tiny_corpus(folder, documents=20)
    found = re.findall(r"python -m sae_stability (\S+) (.*) &> ", project.dry("--printshellcmds").output)
    return {verb: [rest for name, rest in found if name == verb] for verb in ("train", "evaluate")}


def cohorts(commands: list[str]) -> list[str]:
    return [re.search(r"(?:saes|states)/([^/]+)/seed-", command)[1] for command in commands]


def test_the_seeds_of_a_cohort_are_evaluated_on_the_same_heldout_rows(printed: dict[str, list[str]]):
    # A shard's bytes are checked against its manifest when it is read, so one folder is one set of rows.
    chunks = [re.search(r"--chunk (\S+)", command)[1] for command in printed["evaluate"]]
    assert sorted(cohorts(printed["evaluate"])) == ["base", "base", "size-32", "size-32"]
    assert len(set(chunks)) == 1
    assert Path(chunks[0]).parts[-4:] == ("activations", "first", "layers.0.mlp", "heldout")


@pytest.mark.parametrize(("verb", "per_seed"), [("train", 2), ("evaluate", 1)])
def test_the_commands_of_two_seeds_differ_in_the_seed_alone(printed: dict[str, list[str]], verb: str, per_seed: int):
    commands = printed[verb]
    assert len(commands) == 4 * per_seed
    assert len(set(commands)) == len(commands)
    alike = {(cohort, re.sub(OWN, "", command)) for cohort, command in zip(cohorts(commands), commands, strict=True)}
    assert len(alike) == 2 * per_seed
