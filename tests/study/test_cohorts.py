"""What the settings of a cohort become, and how its chunks and steps are counted."""

import math
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings

from sae_stability.sae.training.settings import TrainSettings
from sae_stability.study.build import Study, load_study
from tests.study_config import changed, message, small_config

ROOT = Path(__file__).parents[2]


def test_defaults_come_from_the_schema_then_cohort_defaults_then_the_cohort():
    config = small_config()
    config["cohort_defaults"]["k"] = 8
    config["cohorts"]["base"]["epochs"] = 2
    cohort = Study.from_config(config).cohorts["base"]
    assert (cohort.learning_rate, cohort.k, cohort.epochs) == (2e-4, 8, 2)
    assert cohort.tokens == 4000 * 2


def test_pairs_and_chunks_can_be_counted():
    cohort = Study.from_config(changed("cohorts.base.tokens", 2500)).cohorts["base"]
    assert cohort.pairs == [(0, 1), (0, 2), (1, 2)]
    assert cohort.chunks == 3
    assert [cohort.budget.rows_of(c) for c in range(3)] == [1000, 1000, 500]
    assert [cohort.budget.steps_of(c) for c in range(3)] == [10, 10, 5]
    assert cohort.steps == 25
    assert cohort.pass_.shard_names("0001") == [f"shard-000{i}.safetensors" for i in range(4)]
    assert cohort.pass_.shard_names("heldout") == [f"shard-000{i}.safetensors" for i in range(2)]


def test_a_last_chunk_too_small_for_one_step_is_left_out():
    cohort = Study.from_config(changed("cohorts.base.tokens", 2050)).cohorts["base"]
    assert (cohort.chunks, cohort.steps) == (2, 20)


@given(
    chunks=st.integers(1, 5),
    chunk=st.integers(50, 400),
    epochs=st.integers(1, 4),
    batch=st.integers(2, 50),
    share=st.floats(0.2, 1),
)
@settings(max_examples=200, deadline=None)
def test_chunks_agree_with_going_through_the_rows_one_by_one(chunks, chunk, epochs, batch, share):
    config = small_config()
    config["tokens"]["tiny-web"].update(train_tokens=chunks * chunk, chunk_tokens=chunk)
    tokens = max(math.ceil(share * chunks * chunk * epochs), batch * epochs)
    config["cohorts"]["base"].update(tokens=tokens, epochs=epochs, batch_size=batch, warmup_steps=0)
    del config["sweeps"], config["figures"]
    cohort = Study.from_config(config).cohorts["base"]
    rows = [0] * chunks
    for row in range(tokens // epochs):
        rows[row // chunk] += 1
    steps = [n * epochs // batch for n in rows]
    used = sum(n > 0 for n in steps)
    # The trainer counts for itself: what Snakemake plans and what it does must be the same.
    trainer = TrainSettings(**cohort.training)
    assert cohort.chunks == trainer.n_chunks == used
    assert [cohort.budget.rows_of(c) for c in range(used)] == rows[:used]
    assert [trainer.chunk_rows(c) for c in range(used)] == rows[:used]
    assert [cohort.budget.steps_of(c) for c in range(chunks)] == steps
    assert [trainer.chunk_steps(c) for c in range(chunks)] == steps
    assert [trainer.steps_before(c) for c in range(chunks + 1)] == [sum(steps[:c]) for c in range(chunks + 1)]
    assert cohort.steps == trainer.total_steps == sum(steps)


def test_trainer_and_study_leave_out_the_same_last_piece():
    config = changed("tokens.tiny-web", {**small_config()["tokens"]["tiny-web"], "train_tokens": 300_000})
    config["tokens"]["tiny-web"]["chunk_tokens"] = 100_000
    config["cohorts"]["base"].update(tokens=200_100, epochs=1, batch_size=256)
    cohort = Study.from_config(config).cohorts["base"]
    assert cohort.chunks == TrainSettings(**cohort.training).n_chunks == 2


def test_training_settings_are_those_that_the_trainer_takes():
    for cohort in load_study(ROOT / "config.yaml").cohorts.values():
        trainer = TrainSettings(**cohort.training, init_seed=0)
        assert trainer.total_steps == cohort.steps
        chunks = range(cohort.chunks)
        assert [trainer.chunk_steps(c) for c in chunks] == [cohort.budget.steps_of(c) for c in chunks]


def test_how_many_seeds_share_a_job_is_no_setting_of_the_training():
    cohorts = [Study.from_config(changed("cohorts.base.seeds_per_job", size)).cohorts["base"] for size in (1, 2)]
    assert cohorts[0].training == cohorts[1].training
    assert [cohort.blocks for cohort in cohorts] == [[(0,), (1,), (2,)], [(0, 1), (2,)]]


def test_ambiguous_passes_are_listed():
    config = changed("passes.again", {"tokens": "tiny-web", "hookpoints": ["layers.0.mlp"]})
    assert "several passes would do (mlp, again)" in message(config)
