"""Memory, time, processor cores and GPUs that more than one stage asks for."""

import math

from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Pass


def megabytes(*sizes: int) -> int:
    """Memory for a job: so many bytes, and what Python and its libraries take."""
    return 2000 + sum(sizes) // 10**6


def time_limit(hours: float) -> int:
    """Minutes that a job may take for which the plan gives so many hours.

    An hour for the start on a busy cluster, and six times the plan: its rates may be those of a faster machine.
    """
    return 60 + math.ceil(6 * 60 * hours)


def gpus(study: Study) -> int:
    """GPUs of a job that computes on the study's device.

    Without one, a job asks for none, or it would queue for the one GPU of the default profile.
    """
    return int(study.device == "cuda")


def shard_bytes(pass_: Pass) -> int:
    """The activations of one shard, in bytes."""
    return pass_.shard_rows * pass_.d_model * (4 if pass_.dtype == "float32" else 2)


def sae_memory(cohort: Cohort | ExternalCohort, saes: int = 1) -> int:
    """Memory (MB) for so many SAEs of a cohort."""
    # Two shards; weights, Adam's two moments and a copy of each on its way to the disk, for encoder and decoder.
    shards = 3 * shard_bytes(cohort.pass_) if cohort.pass_ else 0
    return megabytes(shards, saes * 12 * 4 * cohort.n_latents * cohort.d_model)


def sae_threads(cohort: Cohort | ExternalCohort, saes: int = 1) -> int:
    """Cores for a job on so many SAEs of a cohort."""
    # Jobs on small SAEs run side by side, with a thread for every two SAEs: while one job starts, others compute. A
    # large SAE takes the machine.
    return min(max(1, saes // 2), 16) if cohort.n_latents * cohort.d_model <= 4_000_000 else 16
