"""Which seeds of a cohort one training job takes together: a block."""

from collections.abc import Callable

from sae_stability.study.parts import Cohort


def blocks_of(
    cohort: Cohort, untrained: set[int], begun: Callable[[int], list[tuple[int, ...]]]
) -> list[tuple[int, ...]]:
    """The blocks that a cohort has still to train.

    An SAE between two chunks stays in the block that it was begun in, whatever has been added or changed: in another
    one it would start over. The other seeds go by their place among all seeds and not among the unfinished ones. On a
    cluster each job works out the blocks anew, while others finish.

    Args:
        cohort: the cohort.
        untrained: its seeds that are not finished.
        begun: seed -> the blocks in which it has been trained up to some chunk.
    """
    todo = set(untrained)
    found = []
    for block in sorted(block for seed in todo for block in begun(seed)):
        whole = all(seed in todo and block in begun(seed) for seed in block)
        # A state may be left from before the cohort's seeds were changed.
        if whole and len({cohort.sae_seeds[seed][1] for seed in block}) == 1:
            found.append(block)
            todo -= set(block)
    rest = [tuple(seed for seed in block if seed in todo) for block in cohort.blocks]
    return found + [block for block in rest if block]


def by_block(blocks: dict[str, list[tuple[int, ...]]]) -> dict[tuple[int, ...], list[str]]:
    """Block -> the names of the cohorts that have it; from the blocks of each cohort."""
    found: dict[tuple[int, ...], list[str]] = {}
    for cohort, its_blocks in blocks.items():
        for block in its_blocks:
            found.setdefault(block, []).append(cohort)
    return found
