"""The cohorts that sweeps add, and the points that they compare."""

from sae_stability.study.build import Study
from tests.study_config import changed, message, small_config


def test_a_sweep_adds_cohorts_that_differ_in_one_setting_and_reuses_its_base():
    study = Study.from_config(small_config())
    assert [(p.label, p.cohort) for p in study.sweeps["size"].points] == [("32", "size-32"), ("64", "base")]
    base, small = study.cohorts["base"].training, study.cohorts["size-32"].training
    assert {key for key in base if base[key] != small[key]} == {"n_latents"}
    assert study.cohorts["size-32"].seeds == (0, 1)
    assert study.cohorts["base"].seeds == (0, 1, 2)


def test_crossed_sweeps_name_each_combination_and_share_what_another_sweep_has():
    config = changed(
        "sweeps.layer",
        {
            "cohort": "base",
            "vary": {"n_latents": [32, 64], "hookpoint": {"layer 0": "layers.0.mlp", "layer 1": "layers.1.mlp"}},
            "init_seeds": [1, 5],
        },
    )
    study = Study.from_config(config)
    assert [p.cohort for p in study.sweeps["layer"].points] == [
        "size-32",
        "layer-32-layer-1",
        "base",
        "layer-64-layer-1",
    ]
    # What is reused has its own seeds and those that the second sweep asks for.
    assert study.cohorts["size-32"].seeds == (0, 1, 5)
    assert study.cohorts["base"].seeds == (0, 1, 2, 5)


def test_token_sweeps_have_short_names_and_figures_get_numbers():
    config = changed("sweeps.tokens", {"cohort": "base", "vary": {"tokens": [1500, 2000, 4000]}})
    config["figures"]["draw"]["tokens"] = {"sweep": "tokens"}
    study = Study.from_config(config)
    assert [p.cohort for p in study.sweeps["tokens"].points] == ["tokens-1-5k", "tokens-2k", "base"]
    assert study.figures["tokens"].inputs == (("1500", "tokens-1-5k"), ("2000", "tokens-2k"), ("4000", "base"))


def test_a_hookpoint_is_found_in_the_pass_that_the_sweep_already_reads():
    config = changed("passes.again", {"tokens": "tiny-web", "hookpoints": ["layers.0.mlp", "layers.1.mlp"]})
    config["cohorts"]["base"]["pass"] = "again"
    config["sweeps"]["layer"] = {"cohort": "base", "vary": {"hookpoint": ["layers.0.mlp", "layers.1.mlp"]}}
    study = Study.from_config(config)
    assert {study.cohorts[p.cohort].pass_.slug for p in study.sweeps["layer"].points} == {"again"}


def test_a_sweep_that_names_a_cohort_twice_is_refused():
    config = changed("sweeps.kinds", {"cohorts": {"one": "base", "other": "base"}})
    assert "sweeps.kinds.cohorts.one: base is there twice" in message(config)
