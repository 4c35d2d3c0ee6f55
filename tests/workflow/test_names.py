"""Names that mean something to Snakemake, to a shell or to a pattern, in every place where a person may give one."""

import json
import shutil

import pytest
import yaml

from tests.tiny import sentences, tiny_gpt_neox
from tests.workflow.conftest import Project, new_project, tiny_study

ODD = """a {b} [c] 'd' "e" 50% é $HOME (f); g&"""
LABELS = {"第二層": "layers.0.mlp", "-x={y}": "layers.0.mlp:in", "第三層": "layers.1.mlp:in"}


def odd_study() -> dict:
    study = tiny_study(f"model {ODD}", "layers.{}.mlp")
    study["results"] = "results [2] 'q' \"r\" 100% é (a)=b"
    study["corpora"] = {"stories": {"kind": "files", "paths": [f"text {ODD}/*.txt"]}}
    study["passes"]["first"]["hookpoints"] = list(LABELS.values())
    study["cohort_defaults"] |= {"n_latents": 32, "tokens": 4000, "epochs": 1}
    study["sweeps"] = {"position": {"cohort": "base", "vary": {"hookpoint": LABELS}}}
    study["figures"] = {"draw": {"position": {"sweep": "position"}}}
    study["floor"] = {"repeats": 1}
    return study


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A finished study all of whose names are odd, the fixture's folder too; activations lie on another disk."""
    folder = tmp_path_factory.mktemp("names") / f"project {ODD}".replace("{b}", "b")
    made = new_project(folder, odd_study())
    (made.folder / "study.yaml").rename(made.folder / f"study {ODD}.yaml")
    made.configfile = f"study {ODD}.yaml"
    tiny_gpt_neox(made.folder / "model", head=False)
    shutil.move(made.folder / "model", made.folder / f"model {ODD}")
    text = made.folder / f"text {ODD}"
    text.mkdir()
    for number, sentence in enumerate(sentences(300)):
        (text / f"{{draft}} -{number} [x].txt").write_text(sentence)
    scratch = folder.parent / f"scratch {ODD}"
    scratch.mkdir()
    results = made.folder / odd_study()["results"]
    results.mkdir()
    (results / "activations").symlink_to(scratch)
    made.snakemake()
    return made


def test_a_study_of_odd_names_is_made_whole(project):
    results = project.folder / odd_study()["results"]
    assert (results / "report.html").exists()
    assert "第二層" in (results / "figures/position.svg").read_text(encoding="utf-8")
    caption = (results / "figures/position.rst").read_text(encoding="utf-8")
    assert "No installed font" in caption or "show boxes" not in caption
    assert len(list((results / "overlap").iterdir())) == len(LABELS)
    assert project.dry().nothing


def test_activations_may_lie_in_a_scratch_folder(project):
    shards = project.folder.parent / f"scratch {ODD}"
    assert (project.folder / odd_study()["results"] / "activations").is_symlink()
    assert list(shards.rglob("shard-0000.safetensors"))
    assert all(json.loads(path.read_text())["shards"] for path in shards.rglob("manifest.json"))


@pytest.mark.parametrize("sign", "{$")
def test_a_name_that_cannot_be_used_for_results_is_refused_in_one_line(project, sign):
    path = project.folder / "refused.yaml"
    path.write_text(yaml.safe_dump({**odd_study(), "results": f"results {sign}a"}))
    found = Project(project.folder, "refused.yaml").snakemake("--dry-run", check=False)
    assert found.returncode != 0
    assert f"error: results: 'results {sign}a' cannot be used: Snakemake reads '{sign}' as its own sign" in found.output
    assert "Traceback" not in found.output


def test_a_folder_that_snakemake_cannot_run_in_is_refused_in_one_line(tmp_path):
    found = new_project(tmp_path / "project {a}", odd_study()).snakemake("--dry-run", check=False)
    assert found.returncode != 0
    assert "Snakemake cannot run in a folder with braces in its path" in found.output
    assert "Traceback" not in found.output


def test_what_is_finished_and_so_not_forced_is_said_in_one_line(project):
    everything = project.dry("--forceall").output
    (note,) = [line for line in everything.splitlines() if line.startswith("note:")]
    assert note.startswith("note: --forceall makes no finished result again (")
    counts = set(note.split("(")[1].split(")")[0].split(", "))
    assert {"6 of train", "6 of evaluate", "3 of match", "1 of floors"} <= counts
    assert "note: --forcerun makes no finished result again (3 of match)" in project.dry("--forcerun", "matches").output
    assert "note:" not in project.dry("--forcerun", "summary").output


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/proc/nobody/results", "the results folder must be writable and have room, or name another one"),
        ("config.yaml", "config.yaml: is a file, but the study's results go there; move it away"),
    ],
)
def test_results_that_nobody_can_write_are_refused_in_one_line(project, place, words):
    path = project.folder / "refused.yaml"
    path.write_text(yaml.safe_dump({**odd_study(), "results": place}))
    found = Project(project.folder, "refused.yaml").snakemake(check=False)
    assert found.returncode != 0
    assert words in found.output
    assert "Traceback" not in found.output
