"""The explorer's files: what they hold, and that no text of a study becomes markup."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sae_stability.errors import StudyError
from sae_stability.files import read_json, read_table, verify, write_json, write_table
from tests.explorer import planted


def unpacked(site: Path, name: str) -> dict:
    """A chunk of data as the page reads it."""
    found = re.fullmatch(r'explorerData\("([\w-]+)","([A-Za-z0-9+/=]+)"\);\n', (site / f"data/{name}.js").read_text())
    assert found[1] == name
    return json.loads(gzip.decompress(base64.b64decode(found[2])))


def column(holder: dict, name: str) -> np.ndarray:
    packed = holder["columns"][name]
    return np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['type']}")


def test_the_first_page_knows_the_cohort(site: Path):
    study = unpacked(site, "study")
    (cohort,) = study["cohorts"]
    assert (study["study"], study["threshold"]) == (planted.STUDY, 0.7)
    assert cohort["about"] == [["model", planted.MARKUP], ["hookpoint", "layers.0.mlp"]]
    assert cohort["shared"] == {"all": 0.5, "live": 0.6, "floor": 0.0}
    assert cohort["seeds"][1] == {
        "seed": 1,
        "fvu": 0.25,
        "l0": 2.0,
        "dead_fraction": 0.166667,
        "ce_recovered_zero": None,
    }
    assert (cohort["n_latents"], cohort["contexts"]) == (6, True)


def test_the_table_of_latents(site: Path):
    found = unpacked(site, "base_seed-0_latents")
    assert column(found, "rate") == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert column(found, "alive").tolist() == [1, 1, 1, 1, 1, 0]
    assert np.isnan(column(found, "token_entropy")[planted.DEAD])
    assert column(found, "score")[0] == pytest.approx(0.85)
    assert np.isnan(column(found, "score")[1:]).all()
    assert found["tokens"] == {str(latent): [planted.PIECES[latent]] for latent in range(5)}


def test_what_judges_say_and_how_well_that_predicts(site: Path):
    found = unpacked(site, "base_seed-0_latents")
    (said,), (scored,) = found["explanations"], found["scores"]
    assert said["rows"] == {"0": [planted.MARKUP, "ok", ""], "1": ["", "failed", "no_credit"]}
    assert (scored["scorer"], scored["negatives"], scored["chance_95"]) == ("detection", "random", 0.625)
    assert scored["rows"] == {"0": [0.85, 0.8, 0.9, 0.45]}


def test_partners_from_both_sides(site: Path):
    (first,) = unpacked(site, "base_seed-0_partners")["pairs"]
    (second,) = unpacked(site, "base_seed-1_partners")["pairs"]
    assert (first["seed"], second["seed"]) == (1, 0)
    assert column(first, "counterpart_decoder").tolist() == planted.COUNTERPARTS.tolist()
    assert column(second, "counterpart_encoder").tolist() == [1, 0, 2, 3, -1, -1]
    # Latent 0 of the second SAE is the counterpart of latent 1, with that one's cosine.
    assert column(second, "cosine_encoder")[:4] == pytest.approx([0.8, 0.9, 0.75, 0.3])
    assert column(second, "correlation")[:2] == pytest.approx([0.8, 0.9])
    assert column(second, "nearest_decoder").tolist() == [5, 4, 3, 2, 1, 0]
    assert column(first, "nearest_cosine_decoder") == pytest.approx(0.5)


def test_stitched_pairs_with_nearest_latents_and_components(site: Path):
    (pair,) = unpacked(site, "study")["stitches"]
    assert pair == {"name": "sizes", "pair": 1, "small": ["base", 1], "large": ["base", 0], "threshold": 0.4}
    found = unpacked(site, "sizes-1_stitch")
    assert column(found["large"], "nearest").tolist() == [5, 4, 3, 2, 1, 0]
    assert column(found["large"], "cosine") == pytest.approx(planted.NEAREST)
    assert column(found["large"], "component").tolist() == planted.LARGE_IN
    assert column(found["small"], "component").tolist() == planted.SMALL_IN


def test_boosted_tokens_are_the_decoder_row_times_the_heads_rows_and_the_norms_weight(site: Path):
    assert unpacked(site, "study")["cohorts"][0]["boosted"]
    found = unpacked(site, "base_seed-0_boosted-0")["latents"]
    # Decoder row e0 + e1, norm weights 1 and 2, head rows e0, e1, -e0, -e1, 0, e2.
    highest, lowest = found["2"]
    assert [value for _, value in highest] == [2.0, 1.0, 0.0, 0.0, -1.0, -2.0]
    assert [piece for piece, _ in highest[:2]] == [planted.PIECES[1], planted.PIECES[0]]
    assert lowest[:2] == [[planted.PIECES[3], -2.0], [planted.PIECES[2], -1.0]]
    assert unpacked(site, "base_seed-1_boosted-0")["latents"].keys() == {str(latent) for latent in range(planted.N)}


def test_groups_over_seeds(site: Path):
    found = unpacked(site, "base_seed-1_latents")
    assert column(found, "group").tolist() == [1, 0, 6, 7, 8, 9]
    assert column(found, "n_seeds").tolist() == [2, 2, 1, 1, 1, 1]
    assert column(found, "consistent").tolist() == [0, 1, 1, 1, 1, 1]
    members = unpacked(site, "base_groups")
    rows = [column(members, name).tolist() for name in ("group", "seed", "latent")]
    assert sorted(zip(*rows, strict=True)) == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]


def test_latents_are_taken_apart(site: Path):
    (found,) = unpacked(site, "base_seed-0_meta")["metas"]
    assert (found["cohort"], found["seed"]) == ("base", 1)
    assert column(found, "latent").tolist() == [0, 1, 2, 2, 3, 4, 5]
    assert column(found, "meta_latent").tolist() == [0, 1, 0, 1, 2, 3, 3]
    for name in ("activation", "cosine"):
        assert column(found, name) == pytest.approx([1, 1, 0.5**0.5, 0.5**0.5, 1, 1, 1])
    assert unpacked(site, "study")["cohorts"][0]["metas"] == [{"seed": 0, "meta": ["base", 1]}]


def test_contexts_hold_each_text_once_and_where_the_latent_fires(site: Path):
    found = unpacked(site, "base_seed-0_contexts-0")
    assert [window[2] for window in found["windows"]] == [planted.PIECES] * 2
    top, other, random = found["latents"]["3"]
    assert top[:2] == ["top", 0]
    assert top[3:] == [[3, 5], [5.0, 0.5]]
    assert (other[1], random[0], random[3]) == (1, "random", [])
    assert str(planted.DEAD) not in found["latents"]


def test_no_text_of_the_study_becomes_markup(site: Path):
    page = (site / "index.html").read_text()
    assert "study &lt;b&gt;&amp;&quot;&#x27;" in page
    assert "{{study}}" not in page
    assert "Content-Security-Policy" in page
    for file in site.rglob("*.js"):
        assert planted.MARKUP not in file.read_text()
    for file in site.glob("*.js"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )


def test_nothing_comes_from_a_network(site: Path):
    for file in [*site.glob("*.js"), *site.glob("*.css"), site / "index.html"]:
        addresses = set(re.findall(r"https?://[^\"'\s)]+", file.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, file


def test_the_record_names_every_file_of_data(site: Path):
    record = read_json(site / "data/record.json")
    assert record["config_hash"] == "made from"
    assert record["sha256"].keys() == {file.name for file in (site / "data").glob("*.js")}
    verify(file=[site / "data/record.json"])


def test_the_same_tables_give_the_same_bytes_and_former_data_go(tables: Path, site: Path, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gone_seed-0_latents.js").touch()
    planted.write_site(tables, tmp_path)
    of = {str(file.relative_to(tmp_path)): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert of == {str(file.relative_to(site)): file.read_bytes() for file in site.rglob("*") if file.is_file()}


def test_what_is_not_there_is_left_out(tables: Path, tmp_path: Path):
    kinds = ["evaluation", "matches", "firing", "contexts", "cofiring", "consensus"]
    nothing = dict.fromkeys([*kinds, "explanations", "scores", "sae", "meta", "head", "stitch"], ())
    planted.write_site(tables, tmp_path, **nothing)
    found = unpacked(tmp_path, "base_seed-0_latents")
    assert not {"score", "token_entropy"} & found["columns"].keys()
    assert (found["tokens"], found["explanations"], found["scores"]) == ({}, [], [])
    assert unpacked(tmp_path, "base_seed-0_partners") == {"pairs": []}
    assert not {"group", "n_seeds"} & found["columns"].keys()
    study = unpacked(tmp_path, "study")
    assert (study["stitches"], study["cohorts"][0]["boosted"]) == ([], False)
    names = {file.name for file in (tmp_path / "data").glob("*.js")}
    of_seeds = {f"base_seed-{seed}_{kind}.js" for seed in (0, 1) for kind in ("latents", "partners")}
    assert names == {"study.js"} | of_seeds


def test_a_folder_of_an_unknown_cohort_is_refused(tables: Path, tmp_path: Path):
    with pytest.raises(StudyError, match="names a cohort without overlap tables; give --overlap bsae="):
        planted.write_site(tables, tmp_path, explanations=[("words/bsae", tables / "explanations/words/base")])
    assert not list(tmp_path.iterdir())


def test_a_stitched_pair_of_an_unknown_cohort_is_refused(tables: Path, tmp_path: Path):
    stitch = tmp_path / "stitch" / "sizes" / "1"
    shutil.copytree(tables / "stitch/sizes/1", stitch)
    pair = {**read_json(stitch / "stitch.json"), "small": "results/saes/other/seed-0"}
    write_json(stitch / "stitch.json", pair)
    with pytest.raises(StudyError, match=r"other=.*names a cohort without overlap tables; give --overlap other="):
        planted.write_site(tables, tmp_path / "site", stitch=[stitch])


def test_a_meta_sae_needs_its_sae(tables: Path, tmp_path: Path):
    with pytest.raises(StudyError, match=r"--meta 0/base=.*seed-1 comes without its SAE; give --sae 0/base="):
        planted.write_site(tables, tmp_path, sae=[])


def test_a_missing_table_is_named(tables: Path, tmp_path: Path):
    with pytest.raises(StudyError, match=r"nowhere/seed-0\.parquet: no such file"):
        planted.write_site(tables, tmp_path, firing=[("base", tmp_path / "nowhere")])


@pytest.mark.parametrize("model", ["gpt2", '["gpt2"]', '{"nme": "gpt2"}'])
def test_a_model_that_is_no_model_is_refused(tables: Path, tmp_path: Path, model: str):
    with pytest.raises(StudyError, match=re.escape('must be JSON such as {"name": "gpt2"}')):
        planted.write_site(tables, tmp_path, head=[("base", model)])


def test_stitched_tables_of_two_pairs_are_refused(tables: Path, tmp_path: Path):
    stitch = tmp_path / "stitch" / "sizes" / "1"
    shutil.copytree(tables / "stitch/sizes/1", stitch)
    near, _ = read_table(stitch / "insertions.parquet")
    write_table(stitch / "insertions.parquet", near.iloc[1:])
    with pytest.raises(StudyError, match="its tables have 5 and 6 latents"):
        planted.write_site(tables, tmp_path / "site", stitch=[stitch])
