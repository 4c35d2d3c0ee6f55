"""Whether the cohorts of a sweep can be drawn by the kind of figure that is asked for."""

from pathlib import Path

import pytest

import sae_stability
from sae_stability.study.build import Study
from sae_stability.study.schema import schema
from tests.study_config import changed, message, small_config

PACKAGE = Path(sae_stability.__file__).parent


def grouped(*, hookpoints: tuple[str, str], latents: tuple[int, int], figure: str) -> dict:
    """Two declared cohorts, and a figure of both."""
    config = small_config()
    config["passes"]["mlp"]["hookpoints"] = list(dict.fromkeys(hookpoints))
    config["cohorts"] = {
        name: {"hookpoint": hookpoint, "n_latents": n, "init_seeds": [0, 1]}
        for name, hookpoint, n in zip(("one", "two"), hookpoints, latents, strict=True)
    }
    config["sweeps"] = {"both": {"cohorts": {"first": "one", "second": "two"}}}
    config["figures"] = {"draw": {"drawn": {"figure": figure, "sweep": "both"}}}
    return config


def test_a_group_is_drawn_where_its_cohorts_differ_in_what_the_figure_goes_by():
    mlps = ("layers.0.mlp", "layers.1.mlp")
    by_layer = Study.from_config(grouped(hookpoints=mlps, latents=(64, 64), figure="layer"))
    assert by_layer.figures["drawn"].inputs == (("layers.0.mlp", "one"), ("layers.1.mlp", "two"))
    by_size = Study.from_config(grouped(hookpoints=mlps, latents=(32, 64), figure="size"))
    assert by_size.figures["drawn"].inputs == (("32", "one"), ("64", "two"))
    # Positions go by name, and the names of a group are its author's.
    by_name = Study.from_config(grouped(hookpoints=mlps[:1] * 2, latents=(32, 64), figure="position"))
    assert by_name.figures["drawn"].inputs == (("first", "one"), ("second", "two"))
    text = message(grouped(hookpoints=mlps, latents=(64, 64), figure="size"))
    assert "figures.draw.drawn: figure size goes by n_latents, but sweep both has n_latents 64 in all" in text
    text = message(grouped(hookpoints=("layers.0.mlp", "layers.0.attention"), latents=(64, 64), figure="layer"))
    assert "figure layer needs one cohort a place, but sweep both has one and two at layer 0 with 64 latents" in text
    text = message(grouped(hookpoints=("layers.0.mlp", "embeddings"), latents=(64, 64), figure="layer"))
    assert "figure layer goes by hookpoint, but sweep both has embeddings, with no layer number" in text


def architectures(vary: dict, **base) -> dict:
    """A sweep of the base cohort, and a figure over architectures of it."""
    config = changed("sweeps.kinds", {"cohort": "base", "vary": vary})
    config["cohorts"]["base"] |= base
    config["figures"]["draw"]["architecture"] = {"sweep": "kinds"}
    return config


def test_architectures_are_drawn_at_every_k():
    study = Study.from_config(architectures({"architecture": ["topk", "gated"], "k": [2, 4]}))
    assert [label for label, _ in study.figures["architecture"].inputs] == ["topk", "topk", "gated", "gated"]


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ({"k": [2, 4]}, "has architecture topk in all of its cohorts"),
        ({"architecture": ["topk", "gated"], "n_latents": [32, 64]}, "has cohorts that differ in n_latents"),
        ({"architecture": ["topk", "gated"], "learning_rate": [1e-3, 2e-3]}, "with architecture topk and k "),
        ({"architecture": ["topk", "gated"]}, "has fewer than two architectures with several k each"),
    ],
    ids=["one architecture", "sizes too", "two at one place", "one k"],
)
def test_architectures_that_could_not_be_compared_are_refused(vary, expected):
    text = message(architectures(vary))
    assert "figures.draw.architecture: figure architecture compares cohorts of several architectures" in text
    assert expected in text
    assert len(text) < 330


def test_the_styles_defaults_are_the_drawings_own():
    from sae_stability.figures.drawings.style import DEFAULT

    assert Study.from_config(small_config()).style == DEFAULT


def test_the_figures_are_those_that_have_a_table_and_a_drawing():
    kinds = [
        schema()["$defs"][f"{what}_figure"]["properties"]["figure"]["enum"] for what in ("cohort", "sweep", "stitch")
    ]
    allowed = {name for names in kinds for name in names if name}
    modules = {
        folder: {
            path.stem.replace("_", "-"): path.read_text() for path in (PACKAGE / "figures" / folder).glob("[a-z]*.py")
        }
        for folder in ("tables", "drawings")
    }
    assert {name for name, code in modules["tables"].items() if "\ndef table(" in code} == allowed
    assert {name for name, code in modules["drawings"].items() if "\ndef draw(" in code} == allowed
