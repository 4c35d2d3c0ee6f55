"""Limits of hyper-parameters are stated once, and hold in a study's file and in `TrainSettings` alike."""

import re
from dataclasses import MISSING, fields

import pytest

from sae_stability.errors import StudyError
from sae_stability.ranges import range_fault
from sae_stability.sae.training.limits import LIMITS, combination_fault
from sae_stability.sae.training.settings import TrainSettings
from sae_stability.study.build import Study
from sae_stability.study.schema import SCHEMA, definition, load_yaml
from tests.study_config import message, small_config

FINE = {"architecture": "topk", "n_latents": 64, "k": 4, "tokens": 4000, "chunk_tokens": 1000, "batch_size": 100}

# Setting, a value, what is allowed; and the other settings that the value needs to be reached.
BROKEN = [
    ("architecture", "topkk", "topk, batchtopk", {}),
    ("n_latents", 0, "at least 1", {}),
    ("k", 0, "at least 1", {}),
    ("tokens", 0, "at least 1", {}),
    ("epochs", 0, "at least 1", {}),
    ("batch_size", 1, "one activation has no variance to measure errors by; it must be at least 2", {}),
    ("learning_rate", 0.0, "above 0", {}),
    ("learning_rate", 1.5, "at most 1", {}),
    ("warmup_steps", -1, "at least 0", {}),
    ("auxk_alpha", -0.5, "at least 0", {}),
    ("dead_tokens", 0, "at least 1", {}),
    ("bandwidth", 0.0, "above 0", {"architecture": "jumprelu"}),
    ("groups", 1, "from 2 to 16", {"architecture": "matryoshka"}),
    ("groups", 17, "from 2 to 16", {"architecture": "matryoshka"}),
    ("product_dtype", "float16", "float32, bfloat16", {}),
    ("normalisation", "centre", "none, centre-scale", {}),
    ("control", "frozen", "frozen-decoder, frozen-encoder, soft-frozen-decoder, untrained", {}),
    # Settings that do not go together.
    ("k", 65, "above n_latents = 64; lower k", {}),
    ("groups", 9, "above n_latents = 8; lower groups", {"architecture": "matryoshka", "n_latents": 8}),
    ("bandwidth", 0.1, "topk does not use it (only jumprelu); leave it out", {}),
    ("warmup_steps", 40, "training has 40 steps (4,000 tokens in batches of 100); lower it", {}),
]
IDS = [f"{name} {value}" for name, value, _, _ in BROKEN]


def cohort_config(**own: object) -> dict:
    """The small study without sweeps, whose one cohort has these settings."""
    config = small_config()
    del config["sweeps"], config["figures"]
    config["cohorts"]["base"] |= own
    return config


def test_the_settings_that_are_broken_below_are_fine_without_it():
    TrainSettings(**FINE)
    Study.from_config(cohort_config())
    for _, _, _, others in BROKEN:
        TrainSettings(**FINE | others)
        Study.from_config(cohort_config(**others))


@pytest.mark.parametrize(("name", "value", "allowed", "others"), BROKEN, ids=IDS)
def test_a_value_beyond_a_limit_is_refused_by_the_trainer(name, value, allowed, others):
    with pytest.raises(StudyError) as error:
        TrainSettings(**FINE | others | {name: value})
    text = str(error.value)
    assert text.startswith(f"{name}: {value!r} given")
    assert allowed in text


@pytest.mark.parametrize(("name", "value", "allowed", "others"), BROKEN, ids=IDS)
def test_a_value_beyond_a_limit_is_refused_in_a_study(name, value, allowed, others):
    text = message(cohort_config(**others, **{name: value}))
    assert text.startswith(f"cohorts.base.{name}: ")
    assert re.search(rf'"?{value}"?', text)
    assert allowed in text
    assert len(text) < 330


def test_every_limit_is_broken_above():
    # A study derives chunk_tokens from its token set, whose own counts the schema limits.
    assert {name for name, *_ in BROKEN} == LIMITS.keys() - {"chunk_tokens"}
    with pytest.raises(StudyError, match="chunk_tokens: 0 given; it must be at least 1"):
        TrainSettings(**FINE | {"chunk_tokens": 0})


def test_no_limit_is_stated_again_in_the_schemas_file():
    stated = load_yaml(SCHEMA)["$defs"]["cohort"]["properties"]
    bounds = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "enum", "$ref"}
    assert {name: bounds & stated[name].keys() for name in LIMITS.keys() & stated.keys()} == {
        name: set() for name in LIMITS if name != "chunk_tokens"
    }
    filled = definition("cohort")["properties"]
    assert all(filled[name].items() >= LIMITS[name].items() for name in LIMITS.keys() & stated.keys())


# A study warms up and normalises unless told not to; training from Python, which may be a few steps long, does neither.
OF_STUDIES = {"warmup_steps": 1000, "normalisation": "centre-scale"}


def test_a_setting_that_is_left_out_is_the_same_in_a_study_and_in_the_trainer():
    stated = load_yaml(SCHEMA)["$defs"]["cohort"]["properties"]
    filled = definition("cohort")["properties"]
    defaults = {field.name: field.default for field in fields(TrainSettings) if field.default is not MISSING}
    both = defaults.keys() & filled.keys() - {"hookpoint"}  # a study takes its pass's only hookpoint
    assert both == {*LIMITS, "order_seed"} - {"n_latents", "k", "tokens", "chunk_tokens"}
    assert {name: filled[name]["default"] for name in both} == {name: defaults[name] for name in both} | OF_STUDIES
    assert {name: stated[name]["default"] for name in both if "default" in stated[name]} == OF_STUDIES


def test_a_training_without_a_whole_batch_is_refused():
    settings = {**FINE, "tokens": 99, "epochs": 1, "groups": None, "warmup_steps": 0}
    assert combination_fault(settings).startswith("tokens: 99 given, but in 1 epochs that makes no whole batch of 100")
    with pytest.raises(StudyError, match="tokens: 99 given"):
        TrainSettings(**FINE | {"tokens": 99})


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (3, {"minimum": 3}, None),
        (3, {"exclusiveMinimum": 3}, "3 given; it must be above 3"),
        (3, {"maximum": 2}, "3 given; it must be at most 2"),
        (0, {"exclusiveMinimum": 0, "maximum": 1}, "0 given; it must be above 0 and at most 1"),
        (5000, {"minimum": 1, "maximum": 4000}, "5000 given; it must be from 1 to 4,000"),
        (float("nan"), {"minimum": 0}, "nan given; it must be at least 0"),
        (float("nan"), {}, None),
    ],
)
def test_ranges_are_told_in_words(value, limits, expected):
    assert range_fault(value, limits) == expected
