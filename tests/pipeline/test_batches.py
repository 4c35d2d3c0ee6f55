"""How many assignments one job takes."""

import itertools

from sae_stability.pipeline.batches import OPERATIONS, PAIRS, batches, jobs_of


def test_small_pairs_go_together_up_to_the_length_of_a_command_line():
    parts = batches(range(2 * PAIRS + 1), 8, 8)
    assert list(map(len, parts)) == [PAIRS, PAIRS, 1]
    assert list(itertools.chain(*parts)) == list(range(2 * PAIRS + 1))


def test_a_pair_too_large_for_a_job_has_one_of_its_own():
    n_latents = int(OPERATIONS**0.5)
    assert list(map(len, batches(range(3), n_latents, 64))) == [1, 1, 1]


def test_one_batch_goes_by_the_cohorts_name_and_several_by_numbers():
    pairs = list(range(PAIRS + 1))
    assert jobs_of("size-32", pairs[:2], pairs, 8, 8) == {"size_32": [0, 1]}
    assert jobs_of("size-32", pairs, pairs, 8, 8) == {"size_32_PART1": pairs[:PAIRS], "size_32_PART2": pairs[PAIRS:]}


def test_a_batch_keeps_its_name_while_others_finish():
    pairs = list(range(PAIRS + 2))
    assert jobs_of("base", pairs, {1, PAIRS + 1}, 8, 8) == {"base_PART1": [1], "base_PART2": [PAIRS + 1]}
    assert jobs_of("base", pairs, {PAIRS + 1}, 8, 8) == {"base_PART2": [PAIRS + 1]}
    assert jobs_of("base", pairs, set(), 8, 8) == {}
