"""How many assignments one job takes: small ones together, so that a process starts and loads its code once for all."""

from collections.abc import Collection, Sequence

# Multiply-adds of a job's products, about five minutes on two cores; a pair larger than this has a job of its own.
OPERATIONS = 2e13
# The paths of a job's pairs must fit on one command line (128 kB on Linux).
PAIRS = 64


def batches(pairs: Sequence, n_latents: int, d_model: int) -> list[Sequence]:
    """`pairs` of SAEs (n_latents, d_model), in their order, as many to a batch as one job takes."""
    size = min(PAIRS, max(1, int(OPERATIONS / (2 * n_latents**2 * d_model))))
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def jobs_of(name: str, pairs: Sequence, todo: Collection, n_latents: int, d_model: int) -> dict[str, list]:
    """The names of the jobs that make `pairs`, all of one shape, and those in `todo` that each has still to make.

    Finished pairs are left out after batches are formed. On a cluster every job works out its batch anew, when others
    have finished: a job's contents may depend only on its own files.
    """
    parts = batches(pairs, n_latents, d_model)
    # In capitals, because no name of a cohort holds any.
    endings = [f"_PART{number}" for number in range(1, len(parts) + 1)] if len(parts) > 1 else [""]
    left = {ending: [pair for pair in part if pair in todo] for ending, part in zip(endings, parts, strict=True)}
    return {name.replace("-", "_") + ending: found for ending, found in left.items() if found}
