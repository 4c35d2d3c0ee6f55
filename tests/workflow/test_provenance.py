"""Where the results of a finished study come from: `trace`, `archive` and `rebuild`, by the command line."""

import importlib.resources
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sae_stability import cli, files
from tests.workflow.conftest import ROOT, Project

VALIDATOR = ROOT / ".validator" / "bin" / "python"
LOCK = str(ROOT / "envs" / "constraints.txt")


@pytest.fixture(scope="module")
def moved(finished_neox: Project, tmp_path_factory) -> Path:
    """The results of a finished study, alone in another place; without activations, whose shards may be gone."""
    folder = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.copytree(finished_neox.folder / "results", folder, ignore=shutil.ignore_patterns("shard-*"))
    return folder


@pytest.fixture(scope="module")
def packed(finished_neox: Project, tmp_path_factory) -> Path:
    """The archive of the finished study."""
    out = tmp_path_factory.mktemp("packed") / "tiny.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished_neox.folder)
        assert cli.main(["archive", "--study", "study.yaml", "--lock", LOCK, "--out", str(out)]) == 0
    return out


def test_a_picture_is_traced_to_the_token_blocks_and_the_model(moved: Path, capsys):
    assert cli.main(["trace", str(moved / "figures" / "joint.svg"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["result"] == "drawings joint"
    steps = {step["name"]: step for step in found["steps"]}
    wanted = {"tables joint", "overlap base", "match base 0 1", "evaluate base 0", "train base 1", "corpus stories"}
    assert wanted <= steps.keys()
    assert steps["match base 0 1"]["sha256"] == files.sha256(moved / "matches" / "base" / "0-1.parquet")
    order = [step["name"] for step in found["steps"]]
    assert all(
        order.index(name) < order.index(source)
        for name, step in steps.items()
        for source in step["made_from"]
        if source in steps
    )
    assert {name.partition(" ")[0] for name in found["sources"]} == {"model", "text"}
    for name in wanted:
        assert steps[name]["made_by"]["verb"] == steps[name]["verb"]
        assert "numpy" in steps[name]["made_by"]["packages"]


def test_every_result_of_the_study_can_be_traced(moved: Path):
    note = files.read_json(moved / "provenance.json")
    known = note["results"].keys() | note["sources"].keys()
    assert {source for result in note["results"].values() for source in result["made_from"]} <= known
    alone = {name for name, result in note["results"].items() if not result["made_from"]}
    assert {name.partition(" ")[0] for name in alone} == {"floors"}


@pytest.mark.parametrize(
    ("file", "harm", "message"),
    [
        ("evaluation/base/seed-1.parquet", "flip", "evaluation/base/seed-1.parquet: damaged"),
        ("saes/base/seed-0/sae.safetensors", "flip", "saes/base/seed-0/sae.safetensors: damaged"),
        ("tokens/stories/heldout.parquet", "flip", "tokens/stories/heldout.parquet: damaged"),
        ("matches/base/0-1.parquet", "delete", "matches/base/0-1.parquet: no such file"),
        ("figures/joint.json", "other", "figures/joint.json: made from other settings, data or code"),
    ],
)
def test_a_broken_link_is_named_in_one_line(file: str, harm: str, message: str, moved: Path, capsys):
    path = moved / file
    content = path.read_bytes()
    try:
        if harm == "flip":
            path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        elif harm == "delete":
            path.unlink()
        else:
            files.write_json(path, files.read_json(path) | {"config_hash": "0" * 16})
        assert cli.main(["trace", str(moved / "figures" / "joint.svg")]) == 2
    finally:
        path.write_bytes(content)
    said = capsys.readouterr()
    (line,) = said.err.strip().splitlines()
    assert message in line
    assert [row for row in said.out.splitlines() if row.startswith("!")]


def test_a_file_that_is_no_result_is_refused(moved: Path, tmp_path: Path, capsys):
    (moved / "figures" / "mine.svg").write_text("<svg/>")
    (tmp_path / "mine.svg").write_text("<svg/>")
    assert cli.main(["trace", str(moved / "figures" / "mine.svg")]) == 2
    assert cli.main(["trace", str(tmp_path / "mine.svg")]) == 2
    first, second = capsys.readouterr().err.strip().splitlines()
    assert "mine.svg: no result of study" in first
    assert "no folder above it holds provenance.json" in second


def test_an_archive_gives_figures_and_report_with_the_same_bytes(packed: Path, moved: Path, tmp_path: Path, capsys):
    """Also where commit, machine and times of drawing are others: all times here are those of unpacking."""
    out = tmp_path / "again"
    assert cli.main(["rebuild", "--archive", str(packed), "--out", str(out)]) == 0
    assert "files made again, with the bytes of the archive" in capsys.readouterr().out
    again = [path.relative_to(out) for path in out.rglob("*") if path.is_file() and path.name != "made.json"]
    assert {Path("report.html"), Path("report.pdf"), Path("figures/joint.png"), Path("figures/size.rst")} <= {*again}
    assert [name for name in again if (out / name).read_bytes() != (moved / name).read_bytes()] == []
    # Its chain is whole but for what is too large for an archive.
    assert cli.main(["trace", str(out / "overlap" / "base" / "pairs.parquet"), "--json"]) == 2
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert {step["verb"] for step in steps if step["fault"]} == {"train", "tokenize"}
    assert all(step["made_by"] for step in steps)


def validated(archive: Path) -> subprocess.CompletedProcess:
    """What roc-validator says of an archive, with the context that the package `rocrate` carries."""
    context = importlib.resources.files("rocrate") / "data" / "ro-crate.jsonld"
    command = [VALIDATOR, Path(__file__).parent / "validated_crate.py", archive, str(context)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.skipif(not VALIDATOR.exists(), reason="`make test` installs the validator")
def test_a_validator_of_the_format_accepts_an_archive_and_no_broken_one(packed: Path, tmp_path: Path):
    found = validated(packed)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.endswith(" checks, 0 issues\n")
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "ro-crate-metadata.json":
                content = content.replace(b"datePublished", b"dateOfNothing")
            target.writestr(name, content)
    assert "datePublished" in validated(broken).stdout


def test_an_archive_is_a_research_object(packed: Path, tmp_path: Path):
    from rocrate.rocrate import ROCrate

    crate = ROCrate(packed)
    assert crate.metadata["conformsTo"] == "https://w3id.org/ro/crate/1.1"
    assert crate.license.startswith("https://")
    run = crate.dereference("#run")
    assert {one.id for one in run["object"]} >= {"config.yaml", "constraints.txt"}
    with zipfile.ZipFile(packed) as inside:
        listed = {entity.id for entity in crate.data_entities}
        assert {*inside.namelist()} - listed == {"ro-crate-metadata.json"}
        assert not [name for name in listed if name.endswith(".safetensors")]


@pytest.mark.parametrize("part", ["results/figures/size.parquet", "results/provenance.json"])
def test_a_damaged_archive_is_told_in_one_line(part: str, packed: Path, tmp_path: Path, capsys):
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(packed) as inside, zipfile.ZipFile(damaged, "w") as other:
        for name in inside.namelist():
            content = inside.read(name)
            other.writestr(name, content[:60] + b"?" + content[61:] if name == part else content)
    assert cli.main(["rebuild", "--archive", str(damaged), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert Path(part).name in line


def test_a_flipped_bit_in_an_archive_is_one_line_or_changes_nothing(packed: Path, tmp_path: Path, capsys):
    content = packed.read_bytes()
    random = np.random.default_rng(0)
    for turn in range(40):
        flipped = bytearray(content)
        flipped[random.integers(len(content))] ^= 1 << random.integers(8)
        damaged = tmp_path / f"{turn}.zip"
        damaged.write_bytes(flipped)
        code = cli.main(["rebuild", "--archive", str(damaged), "--out", str(tmp_path / str(turn))])
        said = capsys.readouterr().err.strip().splitlines()
        assert code == 0 or (code == 2 and len(said) == 1), said


def test_a_study_that_was_changed_after_its_run_is_not_packed(
    finished_neox: Project, tmp_path: Path, monkeypatch, capsys
):
    changed = (finished_neox.folder / "study.yaml").read_text() + "\nthreshold: 0.5\n"
    (tmp_path / "study.yaml").write_text(changed)
    (tmp_path / "results").symlink_to(finished_neox.folder / "results")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["archive", "--study", "study.yaml", "--lock", LOCK]) == 2
    assert "its last run was of another config than study.yaml" in capsys.readouterr().err


def test_an_unfinished_study_is_not_packed(finished_neox: Project, tmp_path: Path, monkeypatch, capsys):
    results = tmp_path / "results"
    shutil.copytree(finished_neox.folder / "results", results, ignore=shutil.ignore_patterns("size.svg"))
    shutil.copy2(finished_neox.folder / "study.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["archive", "--study", "study.yaml", "--lock", LOCK]) == 2
    assert "figures/size.svg: missing" in capsys.readouterr().err
    assert not list(results.glob("*.zip"))
