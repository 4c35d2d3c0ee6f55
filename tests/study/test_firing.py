"""Which cohorts firing is measured for, and mistakes in it."""

from sae_stability.study.build import Study
from tests.study_config import message, small_config


def config(**settings: object) -> dict:
    return small_config() | {"firing": settings}


def test_nothing_is_measured_unless_asked_for():
    assert Study.from_config(small_config()).firing.cohorts == ()


def test_a_cohort_of_a_sweep_can_be_named():
    assert Study.from_config(config(cohorts=["size-32"])).firing.cohorts == ("size-32",)


def test_mistakes():
    assert "firing.cohorts: bsae" in message(config(cohorts=["bsae"]))
    assert "firing.tokens" in message(config(tokens=0))
    assert "firing.contexts.top" in message(config(contexts={"top": 0}))
    assert "firing.contexts" in message(config(contexts={"tops": 3}))


def test_a_cohort_without_activations_is_refused():
    whole = config(cohorts=["released"])
    hub = [{"repo": "nobody/saes", "folder": name} for name in ("a", "b")]
    whole["cohorts"]["released"] = {"saes": hub, "n_latents": 64, "d_model": 32}
    assert message(whole) == "firing.cohorts: released has no activations to fire on; give it a pass"
    whole["cohorts"]["released"]["pass"] = "mlp"
    whole["cohorts"]["released"]["hookpoint"] = "layers.0.mlp"
    assert Study.from_config(whole).firing.cohorts == ("released",)


def test_a_matrix_has_no_further_text(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.zeros((600, 7), np.float32))
    whole = {
        "study": "own",
        "passes": {"own": {"matrix": "rows.npy", "heldout_rows": 100, "train_rows": 500}},
        "cohorts": {"base": {"n_latents": 8, "k": 2, "batch_size": 10, "warmup_steps": 0}},
        "firing": {"cohorts": ["base"], "tokens": 101},
    }
    assert "pass own is a matrix with 100 held-out rows; ask for fewer" in message(whole)
    whole["firing"]["tokens"] = 100
    assert Study.from_config(whole).firing.tokens == 100
