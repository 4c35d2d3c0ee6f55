"""Cohorts of SAEs that were made elsewhere."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from sae_stability.study.build import Study
from sae_stability.study.parts import ExternalSae
from tests.study_config import message, small_config

HUB = [{"repo": "nobody/saes", "folder": name} for name in ("a", "b")]


def config(**external: object) -> dict:
    """The small study with a second, external cohort."""
    whole = small_config()
    whole["cohorts"]["released"] = external
    return whole


def sparsify(folder, n_latents: int = 6, d_model: int = 32) -> str:
    """An SAE as the library sparsify saves it."""
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text(json.dumps({"num_latents": n_latents, "k": 2, "d_in": d_model}))
    tensors = {"encoder.weight": (n_latents, d_model), "encoder.bias": n_latents}
    tensors |= {"W_dec": (n_latents, d_model), "b_dec": d_model}
    save_file({name: np.ones(shape, np.float32) for name, shape in tensors.items()}, folder / "sae.safetensors")
    return str(folder)


def test_saes_on_the_hub_are_numbered_in_order():
    study = Study.from_config(config(saes=HUB, n_latents=64, d_model=32))
    cohort = study.external["released"]
    assert list(study.trained) == ["base", "size-32"]
    assert cohort.saes == tuple(ExternalSae(None, "nobody/saes", name, None) for name in ("a", "b"))
    assert (cohort.seeds, cohort.blocks, cohort.pairs) == ((0, 1), [(0,), (1,)], [(0, 1)])
    assert (cohort.pass_, cohort.hookpoint, cohort.hook_slug) == (None, None, None)


def test_a_folder_of_several_stands_for_all_of_them_and_their_sizes_are_read(tmp_path):
    paths = [sparsify(tmp_path / "all" / f"seed{seed}") for seed in (10, 9)]
    cohort = Study.from_config(config(saes=[str(tmp_path / "all")])).external["released"]
    assert [sae.path for sae in cohort.saes] == [paths[1], paths[0]]
    assert (cohort.n_latents, cohort.d_model) == (6, 32)


def test_they_are_evaluated_on_the_pass_that_holds_their_hookpoint():
    cohort = Study.from_config(config(saes=HUB, n_latents=64, d_model=32, hookpoint="layers.1.mlp"))
    cohort = cohort.external["released"]
    assert (cohort.pass_.slug, cohort.hook_slug) == ("mlp", "layers.1.mlp")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"saes": HUB, "n_latents": 64}, "n_latents and d_model are needed for SAEs on the hub"),
        ({"saes": [*HUB, HUB[0]], "n_latents": 64, "d_model": 32}, "is there twice"),
        ({"saes": HUB, "n_latents": 64, "d_model": 16, "pass": "mlp", "hookpoint": "layers.0.mlp"}, "is 32 wide"),
        ({"saes": HUB, "n_latents": 64, "d_model": 32, "hookpoint": "layers.9.mlp"}, "layers.9.mlp: in no pass"),
        ({"saes": HUB, "n_latents": 64, "d_model": 32, "k": 4}, "cohorts.released.k: unknown key"),
        ({"saes": [{"repo": "a/b", "folder": "../x"}, HUB[0]]}, "must be a path inside the repository"),
    ],
    ids=[
        "no width",
        "twice",
        "another width",
        "no such hookpoint",
        "a setting of training",
        "path that goes up",
    ],
)
def test_what_cannot_be_compared_is_refused(settings, expected):
    text = message(config(**settings))
    assert expected in text
    assert len(text) < 330


def test_saes_of_different_sizes_are_refused(tmp_path):
    paths = [sparsify(tmp_path / "one"), sparsify(tmp_path / "other", n_latents=7)]
    text = message(config(saes=paths))
    assert "other has 7 latents of width 32, but 6 of width 32 are compared; put SAEs of another size" in text


def test_their_settings_cannot_be_swept():
    whole = config(saes=HUB, n_latents=64, d_model=32)
    whole["sweeps"]["k"] = {"cohort": "released", "vary": {"k": [2, 4]}}
    assert "sweeps.k.cohort: the SAEs of released were made elsewhere" in message(whole)
    # But they can be compared with other cohorts.
    whole["sweeps"]["k"] = {"cohorts": {"ours": "base", "theirs": "released"}}
    points = Study.from_config(whole).sweeps["k"].points
    assert [(point.label, point.cohort) for point in points] == [("ours", "base"), ("theirs", "released")]


def alone() -> dict:
    """The small study with a cohort of one SAE, which is stitched and taken apart."""
    whole = config(saes=HUB[:1], n_latents=64, d_model=32, hookpoint="layers.0.mlp")
    whole["stitches"] = {"chain": {"chain": [{"cohort": "size-32"}, {"cohort": "released"}]}}
    whole["passes"]["decoder"] = {"decoder_of": {"cohort": "released"}}
    return whole


def test_a_single_one_can_be_stitched_and_taken_apart():
    study = Study.from_config(alone())
    assert study.stitches["chain"].chain == (("size-32", 0), ("released", 0))
    assert study.passes["decoder"].decoder_of == (("released", 0),)
    assert list(study.compared) == ["base", "size-32"]


def test_what_needs_pairs_refuses_a_single_one():
    whole = alone()
    whole["firing"] = {"cohorts": ["released"]}
    assert "firing.cohorts: cohort released has a single SAE, but firing is compared over seeds" in message(whole)
    whole = alone()
    whole["figures"]["draw"]["seeds"] = {"cohort": "released"}
    assert "figures.draw.seeds: cohort released has a single SAE, but figure seeds compares SAEs" in message(whole)
    whole = alone()
    whole["sweeps"]["both"] = {"cohorts": {"ours": "base", "theirs": "released"}}
    whole["figures"]["draw"]["position"] = {"sweep": "both"}
    assert "cohort released has a single SAE, but figure position compares SAEs" in message(whole)
    only = {"study": "one", "cohorts": {"released": {"saes": HUB[:1], "n_latents": 64, "d_model": 32}}}
    assert "cohorts: each has a single SAE, but a study compares SAEs" in message(only)
