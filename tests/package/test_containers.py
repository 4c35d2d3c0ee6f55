"""The container recipes: their form, and that they install what `make run` installs."""

import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER, APPTAINER = ROOT / "envs" / "Dockerfile", ROOT / "envs" / "apptainer.def"
INSTALL = "--constraint envs/constraints.txt --editable '.[all,embedded,slurm]'"


def docker() -> list[tuple[str, str]]:
    """The recipe's instructions, with their arguments."""
    text = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", DOCKER.read_text(), flags=re.MULTILINE))
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line]


def apptainer() -> dict[str, str]:
    """The recipe's header, under "", and its sections."""
    parts = re.split(r"^%(\w+)\n", APPTAINER.read_text(), flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_docker_recipe_is_well_formed():
    instructions = docker()
    assert instructions[0][0] == "FROM"
    assert {name for name, _ in instructions} <= {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}
    for name, words in instructions:
        assert shlex.split(words), name
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(words))


def test_the_apptainer_recipe_is_well_formed():
    sections = apptainer()
    assert sections.keys() == {"", "files", "post", "environment", "runscript"}
    assert re.search(r"^Bootstrap: docker\nFrom: \S+$", sections[""], re.MULTILINE)


def test_both_install_from_the_pins_and_start_from_the_same_image():
    assert any(name == "RUN" and INSTALL in words for name, words in docker())
    assert INSTALL in apptainer()["post"]
    assert f"From: {docker()[0][1]}\n" in apptainer()[""]


@pytest.mark.parametrize("copied", ["Snakefile", "config.yaml", "envs", "profiles", "studies", "workflow"])
def test_both_hold_all_that_a_run_reads(copied: str):
    assert (ROOT / copied).exists()
    assert any(name == "COPY" and copied in words.split()[:-1] for name, words in docker())
    assert f"    {copied} /sae-stability/{copied}\n" in apptainer()["files"]


def test_every_file_that_is_copied_is_there():
    for name, words in docker():
        if name == "COPY":
            assert all((ROOT / source).exists() for source in words.split()[:-1])
    for line in apptainer()["files"].split("\n"):
        assert not line or (ROOT / line.split()[0]).exists()
