"""Passes over decoder rows of SAEs, and the order in which parts of a study that rest on each other are made."""

import pytest

from sae_stability.study.build import Study
from tests.study_config import changed, message, small_config


def with_meta(decoder_of: object, **settings) -> dict:
    """The small study with a pass over decoder rows and a cohort of meta-SAEs, which is declared first."""
    config = small_config()
    config["passes"] = {"rows": {"decoder_of": decoder_of, **settings}, **config["passes"]}
    meta = {"pass": "rows", "n_latents": 8, "batch_size": 16, "epochs": 20}
    config["cohorts"] = {"meta": meta, **config["cohorts"]}
    return config


def test_a_meta_sae_reads_the_decoder_rows_of_an_sae():
    study = Study.from_config(with_meta({"cohort": "base", "seed": 1}))
    cohort = study.cohorts["meta"]
    assert cohort.pass_.decoder_of == (("base", 1),)
    assert (cohort.hookpoint, cohort.d_model, cohort.pass_.train_rows, cohort.tokens) == ("decoder", 32, 64, 64 * 20)
    assert list(study.cohorts) == ["meta", "base", "size-32"], "the order of the file"
    assert list(study.passes) == ["rows", "mlp"]


def test_several_saes_of_several_sizes():
    """`size-32` is made by a sweep, and all of its seeds are taken."""
    study = Study.from_config(with_meta([{"cohort": "base", "seed": 2}, {"cohort": "size-32"}]))
    pass_ = study.passes["rows"]
    assert pass_.decoder_of == (("base", 2), ("size-32", 0), ("size-32", 1))
    assert pass_.heldout_rows == pass_.train_rows == 64 + 2 * 32


def test_a_meta_sae_of_a_meta_sae():
    config = with_meta({"cohort": "base", "seed": 0})
    config["passes"]["deeper"] = {"decoder_of": {"cohort": "meta"}}
    config["cohorts"]["deeper"] = {"pass": "deeper", "n_latents": 4, "k": 2, "batch_size": 4, "epochs": 9}
    config["sweeps"]["meta-size"] = {"cohort": "meta", "vary": {"n_latents": [8, 16]}}
    study = Study.from_config(config)
    assert study.cohorts["deeper"].pass_.decoder_of == (("meta", 0), ("meta", 1))
    assert study.cohorts["meta-size-16"].pass_ == study.passes["rows"]


@pytest.mark.parametrize(
    ("decoder_of", "settings", "expected"),
    [
        ({"cohort": "bsae"}, {}, "passes.rows.decoder_of.cohort: bsae: no such entry; did you mean base?"),
        ({"cohort": "meta"}, {}, "the SAEs of meta are trained on this pass, directly or through other passes"),
        ({"cohort": "base", "seed": 7}, {}, "seed: 7, but the seeds of cohort base are 0, 1, 2; name one of these"),
        ([{"cohort": "base"}, {"cohort": "base", "seed": 1}], {}, "seed 1 of cohort base is named twice; keep one"),
        ({"cohort": "base"}, {"rows": 3}, "passes.rows.rows: unknown key"),
    ],
)
def test_what_cannot_be_is_refused(decoder_of, settings, expected):
    assert expected in message(with_meta(decoder_of, **settings))


def test_a_circle_of_two_passes_is_refused():
    config = with_meta({"cohort": "deeper"})
    config["passes"]["deeper"] = {"decoder_of": {"cohort": "meta"}}
    config["cohorts"]["deeper"] = {"pass": "deeper", "n_latents": 4, "k": 2, "batch_size": 4}
    assert "the SAEs of deeper are trained on this pass, directly or through other passes" in message(config)


def test_a_sweep_takes_no_name_of_a_cohort_that_is_made_later():
    config = with_meta({"cohort": "base", "seed": 0})
    config["cohorts"]["size-32"] = config["cohorts"].pop("meta")
    assert "size-32" in message(config)


def test_a_batch_is_no_larger_than_the_dictionary():
    assert "cohorts.base.batch_size" in message(changed("cohorts.base.batch_size", 5000))
    config = with_meta({"cohort": "base", "seed": 0})
    config["cohorts"]["meta"]["batch_size"] = 65
    assert "cohorts.meta.batch_size: 65, but a chunk gives only 64 different activations" in message(config)
