"""How many assignments one job takes: small ones together, so that a process starts and loads its code once for all."""

from collections.abc import Sequence

# Multiply-adds of a job's products, about five minutes on two cores; a pair larger than this has a job of its own.
OPERATIONS = 2e13
# The paths of a job's pairs must fit on one command line (128 kB on Linux).
PAIRS = 64


def batches(pairs: Sequence, n_latents: int, d_model: int) -> list[Sequence]:
    """`pairs` of SAEs (n_latents, d_model), in their order, as many to a batch as one job takes."""
    size = min(PAIRS, max(1, int(OPERATIONS / (2 * n_latents**2 * d_model))))
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]
