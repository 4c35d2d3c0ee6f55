"""`compare`: planted overlaps in the table, the JSON and the figure; mixed formats and sizes; mistakes."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from sae_stability import cli
from sae_stability.compare.saes import _ON_HUB
from sae_stability.files import read_json
from sae_stability.sae import formats
from sae_stability.sae.weights import Weights
from tests.pages import ROOT

N, D, COMMON = 40, 24, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two SAEs with 30 of 40 latents in common, the second in SAELens' format and of 50 latents, and rows.

    The first ten latents of either are common and never fire.
    """
    root, rng = tmp_path_factory.mktemp("compare"), np.random.default_rng(0)
    common = rng.standard_normal((COMMON, D)).astype(np.float32)
    for name, n, form in (("one", N, "own"), ("two", N + 10, "saelens")):
        rows = np.concatenate([common, rng.standard_normal((n - COMMON, D)).astype(np.float32)])
        bias = np.where(np.arange(n) < 10, -1e3, 0).astype(np.float32)
        weights = Weights(rows, rows, bias, np.zeros(D, np.float32), "relu", k=4)
        formats.write(root / name, weights, form)
    np.save(root / "rows.npy", rng.standard_normal((200, D)).astype(np.float32))
    return root


@pytest.fixture(scope="module")
def compared(folder: Path) -> dict:
    words = [str(folder / "one"), str(folder / "two"), "--activations", str(folder / "rows.npy")]
    assert cli.main(["compare", *words, "--out", str(folder / "out"), "--threads", "1"]) == 0
    return read_json(folder / "out" / "compare.json")


def test_planted_overlap_is_found(compared: dict):
    (pair,) = compared["pairs"]
    assert pair["all"]["shared"] == COMMON / N
    assert (pair["live"]["n"], pair["live"]["shared"]) == (N - 10, (COMMON - 10) / (N - 10))
    assert pair["matching"]["decoder"]["counterpart"][:COMMON] == list(range(COMMON))
    assert pair["matching"]["encoder"]["cosine"][:COMMON] == [1.0] * COMMON
    assert pair["pw_mcc"]["signed"] == pair["all"]["mean_cosine_decoder"] <= pair["pw_mcc"]["absolute"]
    assert pair["mmcs"]["b_to_a"] < pair["mmcs"]["a_to_b"], "twenty of the fifty have no partner"
    assert pair["floor"]["all"]["shared"] < 0.1
    assert pair["floor"]["all"]["same_counterpart"] < 0.5
    tied = pair["tied_floor"]
    assert tied["same_counterpart"] == 1, "before training, encoder and decoder agree"
    assert tied["shared"] == tied["joint"] == tied["decoder_only"] == pair["floor"]["all"]["decoder_only"]


def test_the_json_is_as_its_schema_says(compared: dict, folder: Path):
    text = json.loads((folder / "out" / "compare.json").read_text())
    schema = json.loads((ROOT / "docs" / "compare.schema.json").read_text())
    jsonschema.validate(text, schema)
    one, two = compared["saes"]
    assert (one["format"], two["format"]) == ("own", "saelens")
    assert (one["n_latents"], two["n_latents"], one["live"], one["d_model"]) == (N, N + 10, N - 10, D)
    assert one["sha256"].keys() == {"cfg.json", "sae.safetensors"}
    assert compared["activations"]["rows"] == 200
    assert {file.name for file in (folder / "out").iterdir()} == {"compare.json", "joint-A-B.svg", "joint-A-B.png"}


def test_the_table_says_the_same(folder: Path, capsys):
    names = [str(folder / name) for name in ("one", "two", "one")]
    assert cli.main(["compare", *names, "--threads", "1"]) == 0
    told = capsys.readouterr().out
    rows = re.findall(r"^(\w \w) +all +40 +([\d.]+)", told, re.MULTILINE)
    assert rows == [("A B", "0.750"), ("A C", "1.000")]
    assert re.search(r"^B C +all +50 +0\.600", told, re.MULTILINE), "fractions are of the first one's latents"
    assert "No activations were given" in told
    assert len(re.findall("^ +floor ", told, re.MULTILINE)) == 3
    assert len(re.findall("^ +tied floor ", told, re.MULTILINE)) == 3


def test_mistakes_take_one_line(folder: Path, tmp_path: Path, capsys):
    narrow = Weights(*[np.eye(4, dtype=np.float32)] * 2, *[np.zeros(4, np.float32)] * 2, "relu")
    formats.write(tmp_path / "narrow", narrow, "own")
    one = str(folder / "one")
    for words, message in (
        ([one], "1 SAE given; name at least 2"),
        ([one, str(tmp_path / "narrow")], f"has width 4, but {one} has width 24"),
        ([one, str(tmp_path / "none")], "none: no such file or folder"),
        ([one, one, "--activations", "no.npy"], "no.npy: no such file"),
    ):
        assert cli.main(["compare", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") <= 2


def test_a_place_on_the_hub_has_a_repository_a_folder_and_perhaps_a_revision():
    found = _ON_HUB.fullmatch("EleutherAI/sae-pythia:layers.3.mlp/seed1@main").groupdict()
    assert found == {"repo": "EleutherAI/sae-pythia", "folder": "layers.3.mlp/seed1", "revision": "main"}
    assert _ON_HUB.fullmatch("owner/name:folder")["revision"] is None
    assert _ON_HUB.fullmatch("folder/of/mine") is None
