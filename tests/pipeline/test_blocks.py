"""Which seeds one training job takes together."""

import dataclasses
from pathlib import Path

import pytest

from sae_stability.pipeline import Pipeline, train
from sae_stability.pipeline.blocks import blocks_of, by_block
from tests.study_config import small_config

SEEDS = {0, 1, 2, 3, 4}


@pytest.fixture
def cohort(pipeline: Pipeline):
    """Five seeds, two a job."""
    return dataclasses.replace(pipeline.study.cohorts["base"], init_seeds=(0, 1, 2, 3, 4), seeds_per_job=2)


def begun(*blocks: tuple[int, ...]):
    """As if each of these blocks had been trained up to some chunk."""
    return lambda seed: sorted(block for block in blocks if seed in block)


def test_nothing_begun_gives_the_cohorts_own_blocks(cohort):
    assert blocks_of(cohort, SEEDS, begun()) == [(0, 1), (2, 3), (4,)]


def test_nothing_to_train_gives_no_block(cohort):
    assert blocks_of(cohort, set(), begun((0, 1))) == []


def test_finished_seeds_leave_the_others_in_their_place(cohort):
    assert blocks_of(cohort, {1, 2, 3, 4}, begun()) == [(1,), (2, 3), (4,)]


def test_what_is_between_two_chunks_stays_in_its_block(cohort):
    assert blocks_of(cohort, SEEDS, begun((1, 2))) == [(1, 2), (0,), (3,), (4,)]


def test_a_block_of_which_one_seed_is_finished_is_not_gone_on_with(cohort):
    assert blocks_of(cohort, {0, 2, 3, 4}, begun((0, 1))) == [(0,), (2, 3), (4,)]


def test_a_block_of_which_one_seed_was_never_begun_is_not_gone_on_with(cohort):
    assert blocks_of(cohort, SEEDS, lambda seed: [(1, 2)] if seed == 1 else []) == [(0, 1), (2, 3), (4,)]


def test_of_two_blocks_with_one_seed_the_first_is_gone_on_with(cohort):
    assert blocks_of(cohort, SEEDS, begun((0, 1), (1, 2))) == [(0, 1), (2, 3), (4,)]


def test_seeds_that_read_the_data_in_different_orders_never_share_a_block(cohort):
    order = dataclasses.replace(cohort, init_seeds=(0,), order_seeds=(0, 1))
    assert blocks_of(order, {0, 1}, begun((0, 1))) == [(0,), (1,)]


def test_cohorts_with_the_same_block_are_one_entry():
    assert by_block({"a": [(0, 1), (2,)], "b": [(0, 1)], "c": []}) == {(0, 1): ["a", "b"], (2,): ["a"]}


def test_a_pipeline_reads_begun_blocks_off_its_states(pipeline_of):
    config = small_config()
    config["cohorts"]["base"]["seeds_per_job"] = 2
    before = pipeline_of(config)
    for seed in (1, 2):
        state = Path(before.results.state((1, 2), "base", seed, 0))
        state.parent.mkdir(parents=True)
        state.touch()
    after = pipeline_of(config)
    assert before.study == after.study
    assert after.blocks == {"base": [(1, 2), (0,)], "size-32": [(0, 1)]}
    assert after.block_of["base", 2] == (1, 2)
    assert train.jobs(after) == {(1, 2): ["base"], (0,): ["base"], (0, 1): ["size-32"]}
