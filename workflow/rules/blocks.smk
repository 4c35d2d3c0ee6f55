"""Which seeds of a cohort one training job takes together: a block."""


def joined(seeds) -> str:
    """A block's seeds as part of a file name."""
    return "-".join(map(str, seeds))


def begun(cohort, seed: int) -> list[tuple[int, ...]]:
    """The blocks in which an SAE has been trained up to some chunk, by the names of its states."""
    states = Path(in_results("states")).glob(f"seeds-*/{cohort.slug}/seed-{seed}/chunk-*.safetensors")
    names = {state.parts[-4].removeprefix("seeds-") for state in states}
    return sorted(tuple(map(int, name.split("-"))) for name in names)


def blocks_of(cohort) -> list[tuple[int, ...]]:
    """The blocks that a cohort has still to train.

    An SAE between two chunks stays in the block that it was begun in, whatever has been added or changed: in another
    one it would start over. The others go by their place among all seeds and not among the unfinished ones, because
    on a cluster each job reads these lines anew, while others finish.
    """
    todo = {seed for seed in cohort.seeds if f"{cohort.slug}/seed-{seed}" in UNTRAINED}
    found = []
    for block in sorted(block for seed in todo for block in begun(cohort, seed)):
        whole = all(seed in todo and block in begun(cohort, seed) for seed in block)
        # A state may be left from before the cohort's seeds were changed.
        if whole and len({cohort.sae_seeds[seed][1] for seed in block}) == 1:
            found.append(block)
            todo -= set(block)
    rest = [tuple(seed for seed in block if seed in todo) for block in cohort.blocks]
    return found + [block for block in rest if block]


def of_block(amount, block):
    """A resource of a block's job, from a function of the cohort and the number of SAEs."""
    return lambda wildcards: amount(study.cohorts[wildcards.cohort], len(block))


# Block -> names of the cohorts that have it to train; SAE -> its block.
BLOCKS: dict[tuple, list[str]] = {}
for _cohort in study.trained.values():
    for _block in blocks_of(_cohort):
        BLOCKS.setdefault(_block, []).append(_cohort.slug)
BLOCK_OF = {(cohort, seed): block for block, cohorts in BLOCKS.items() for cohort in cohorts for seed in block}
