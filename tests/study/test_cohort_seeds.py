"""Cohorts in which the initial weights vary, the order of the data, or both, and their sweeps and figure."""

import pytest

from sae_stability.sae.training.settings import TrainSettings
from sae_stability.study.build import Study
from sae_stability.study.parts import without_seeds
from tests.study_config import message, small_config

BASE = {"hookpoint": "layers.0.mlp", "n_latents": 64}
ORDER = {**BASE, "init_seeds": [7], "order_seeds": [5, 3]}
BOTH = {**BASE, "init_seeds": [2, 1], "order_seeds": [8, 9]}
EXTERNAL = {"saes": [{"repo": "nobody/saes", "folder": name} for name in ("a", "b")], "n_latents": 64, "d_model": 32}


def study(order: dict = ORDER, both: dict = BOTH, **sections: dict) -> Study:
    return Study.from_config(config(order, both, **sections))


def config(order: dict = ORDER, both: dict = BOTH, **sections: dict) -> dict:
    """Three cohorts that differ in which seed varies, and a group of them."""
    whole = small_config()
    whole["cohorts"] |= {"order": order, "both": both}
    whole["sweeps"]["kinds"] = {"cohorts": {"a": "base", "b": "order", "c": "both"}}
    whole["figures"]["draw"]["randomness"] = {"sweep": "kinds"}
    for name, section in sections.items():
        whole[name] = {**whole[name], **section}
    return whole


def test_what_varies_numbers_the_saes_and_the_rest_is_shared():
    cohorts = study().cohorts
    assert {name: cohorts[name].varied for name in ("base", "order", "both")} == {
        "base": "init",
        "order": "order",
        "both": "both",
    }
    assert cohorts["base"].sae_seeds == {0: (0, 0), 1: (1, 0), 2: (2, 0)}
    assert cohorts["order"].sae_seeds == {5: (7, 5), 3: (7, 3)}
    assert cohorts["both"].sae_seeds == {2: (2, 8), 1: (1, 9)}
    assert [cohorts[name].seeds for name in ("order", "both")] == [(3, 5), (1, 2)]
    assert cohorts["order"].pairs == [(3, 5)]


def test_the_seeds_are_all_that_tells_the_trainings_of_the_three_apart():
    cohorts = study().cohorts
    trainings = [cohorts[name].training for name in ("base", "order", "both")]
    assert trainings[0] == trainings[1] == trainings[2]
    settings = TrainSettings(**trainings[0], init_seed=7, order_seed=5)
    assert (settings.init_seed, settings.order_seed) == (7, 5)
    assert not {"init_seeds", "order_seeds", "order_seed", "init_seed"} & set(trainings[0])


def test_seeds_that_are_not_given():
    cohorts = study(order={**BASE, "order_seeds": [4, 6]}).cohorts
    assert cohorts["order"].sae_seeds == {4: (0, 4), 6: (0, 6)}
    whole = small_config()
    del whole["cohorts"]["base"]["init_seeds"], whole["sweeps"]
    whole["figures"] = {}
    assert Study.from_config(whole).cohorts["base"].sae_seeds == {0: (0, 0), 1: (1, 0)}


def test_a_cohorts_own_order_takes_the_place_of_the_defaults():
    whole = config(cohort_defaults={"order_seed": 6})
    cohorts = Study.from_config(whole).cohorts
    assert [cohorts[name].order_seeds for name in ("base", "order")] == [(6,), (5, 3)]
    del whole["cohort_defaults"]["order_seed"]
    whole["cohort_defaults"]["order_seeds"] = [1, 2]
    whole["cohorts"]["base"]["order_seed"] = 4
    assert Study.from_config(whole).cohorts["base"].order_seeds == (4,)


MISTAKES = {
    "one SAE": (
        {"init_seeds": [3]},
        "cohorts.order.init_seeds: needs at least 2, has 1; a single one needs order_seeds",
    ),
    "no seed": ({"init_seeds": []}, "cohorts.order.init_seeds: needs at least 1, has 0"),
    "one of each": ({"init_seeds": [3], "order_seeds": [1]}, "cohorts.order.order_seeds: needs at least 2, has 1"),
    "lengths that differ": (
        {"init_seeds": [0, 1, 2], "order_seeds": [0, 1]},
        "cohorts.order.order_seeds: has 2, but init_seeds has 3; give as many of both",
    ),
    "an order seed twice": ({"order_seeds": [1, 1]}, "cohorts.order.order_seeds: 1 is there twice"),
    "one order and several": (
        {"order_seed": 0, "order_seeds": [0, 1]},
        "cohorts.order.order_seeds: given together with order_seed; keep one",
    ),
    "a negative order": (
        {"order_seeds": [0, -1]},
        "cohorts.order.order_seeds[1]: -1 given; it must be from 0 to",
    ),
    "one order for a list": ({"order_seeds": 3}, "cohorts.order.order_seeds: must be a list or null, not 3"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_seeds_that_do_not_go_together_are_refused(name: str):
    own, expected = MISTAKES[name]
    text = message(config(order={**BASE, **own}))
    assert expected in text
    assert len(text) < 300


def test_both_kinds_of_order_seed_in_the_defaults_are_refused():
    text = message(config(cohort_defaults={"order_seed": 0, "order_seeds": [1, 2]}))
    assert text.startswith("cohort_defaults.order_seeds: given together with order_seed")


def test_cohorts_are_the_same_where_the_same_varies_and_the_rest_is_alike():
    cohorts = study().cohorts
    others = study(order={**ORDER, "order_seeds": [0, 1]}, both={**BOTH, "init_seeds": [5, 6]}).cohorts
    assert all(without_seeds(cohorts[name]) == without_seeds(others[name]) for name in ("base", "order", "both"))
    kinds = [cohorts[name] for name in ("base", "order", "both")]
    assert [[without_seeds(a) == without_seeds(b) for a in kinds] for b in kinds] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    # Other weights that all start from: another cohort.
    other = study(order={**ORDER, "init_seeds": [0]}).cohorts["order"]
    assert without_seeds(cohorts["order"]) != without_seeds(other)
    text = message(config(both={**ORDER, "order_seeds": [0, 1]}))
    assert "cohorts.both: trains the same as cohorts.order; keep one, with all seeds" in text


def sweep(cohort: str, **settings: object) -> dict:
    whole = config()
    whole["sweeps"]["more"] = {"cohort": cohort, "vary": {"n_latents": [16, 64]}, **settings}
    return whole


def test_a_sweep_varies_what_its_cohort_varies():
    cohorts = Study.from_config(sweep("order")).cohorts
    assert cohorts["more-16"].sae_seeds == cohorts["order"].sae_seeds
    cohorts = Study.from_config(sweep("both", init_seeds=[1, 4], order_seeds=[9, 2])).cohorts
    assert cohorts["more-16"].sae_seeds == {1: (1, 9), 4: (4, 2)}
    # The value that the declared cohort has is that cohort, with these seeds too.
    assert cohorts["both"].sae_seeds == {2: (2, 8), 1: (1, 9), 4: (4, 2)}
    assert cohorts["order"] == study().cohorts["order"]


def test_a_sweep_may_have_seeds_of_its_own():
    cohorts = Study.from_config(sweep("order", order_seeds=[5, 6])).cohorts
    assert cohorts["more-16"].sae_seeds == {5: (7, 5), 6: (7, 6)}
    assert cohorts["order"].order_seeds == (5, 3, 6)
    # Other init seeds for an order cohort: another cohort, of the name that the sweep gives.
    cohorts = Study.from_config(sweep("order", init_seeds=[8])).cohorts
    assert cohorts["more-64"].sae_seeds == {5: (8, 5), 3: (8, 3)}


@pytest.mark.parametrize(
    ("cohort", "settings", "expected"),
    [
        ("order", {"init_seeds": [0, 1, 2]}, "sweeps.more.order_seeds: has 2, but init_seeds has 3"),
        ("both", {"init_seeds": [0, 1, 2]}, "sweeps.more.order_seeds: has 2, but init_seeds has 3"),
        (
            "both",
            {"init_seeds": [2, 4]},
            "sweeps.more.order_seeds: their pairs with init seeds differ from",
        ),
        ("both", {"order_seeds": [9, 8]}, "differ from those of cohort both, which trains the same; use its pairs"),
        ("base", {"vary": {"order_seeds": [[1, 2]]}}, "sweeps.more.vary.order_seeds: cannot be varied"),
        ("order", {"vary": {"order_seed": [1, 2]}}, "vary.order_seed: cannot be varied where there are order_seeds"),
    ],
)
def test_a_sweep_of_seeds_that_do_not_go_together_is_refused(cohort: str, settings: dict, expected: str):
    text = message(sweep(cohort, **settings))
    assert expected in text
    assert len(text) < 300


def test_the_one_order_of_an_init_cohort_can_be_swept():
    cohorts = Study.from_config(sweep("base", vary={"order_seed": [0, 3]})).cohorts
    assert cohorts["more-3"].sae_seeds == {0: (0, 3), 1: (1, 3), 2: (2, 3)}


def test_the_figure_places_cohorts_by_what_varies():
    assert study().figures["randomness"].inputs == (("init", "base"), ("order", "order"), ("both", "both"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sweeps": {"kinds": {"cohort": "base", "vary": {"k": [2, 4]}}}}, "sweep kinds varies k"),
        ({"sweeps": {"kinds": {"cohorts": {"a": "base", "b": "both"}}}}, "no cohort in which the order seed alone"),
        ({"sweeps": {"kinds": {"cohorts": {"a": "order", "b": "both"}}}}, "no cohort in which the init seed alone"),
        ({"order": {**ORDER, "k": 2, "epochs": 2}}, "has cohorts that differ in k and tokens and epochs"),
        (
            {
                "order": {**ORDER, "init_seeds": [0]},
                "both": ORDER,
                "sweeps": {"kinds": {"cohorts": {"a": "base", "b": "both", "c": "order"}}},
            },
            "has two cohorts in which the same seeds vary",
        ),
        ({"both": EXTERNAL}, "has cohort both of external SAEs"),
    ],
    ids=["a setting", "no order", "no init", "other settings", "one kind twice", "SAEs made elsewhere"],
)
def test_a_figure_that_could_not_tell_which_matters_more_is_refused(change: dict, expected: str):
    text = message(config(**change))
    assert "figures.draw.randomness: figure randomness compares a cohort of several init_seeds" in text
    assert expected in text
    assert len(text) < 330
