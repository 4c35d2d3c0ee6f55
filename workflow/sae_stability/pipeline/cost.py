"""What a stage costs, and what the costs of several stages are counted from."""

import dataclasses

from sae_stability.models.headers import model_parameters
from sae_stability.pipeline.batches import batches
from sae_stability.study.build import Study
from sae_stability.study.parts import Cohort, ExternalCohort, Model, Pass

_MATCH_BYTES = 132  # 16 columns of 8 bytes and 4 flags for each latent


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one stage. `written` and `peak` are bytes: over the whole run, and most at one time on disk."""

    name: str
    jobs: int
    tokens: int = 0
    written: int = 0
    peak: int = 0
    device_hours: float = 0.0
    cpu_hours: float = 0.0


def used_passes(study: Study) -> list[Pass]:
    """The passes that some cohort is trained or evaluated on."""
    read = {cohort.pass_ for cohort in study.cohorts.values()}
    return [pass_ for pass_ in study.passes.values() if pass_ in read]


def parameters(model: Model) -> int | None:
    """A model's number of parameters, as stated or from its files; None where neither tells."""
    return model.parameters or model_parameters(model)


def forward(pass_: Pass) -> float:
    """Operations a token of the model's forward pass; 0 for a matrix, and for a model of unknown size."""
    return 2.0 * (parameters(pass_.model) or 0) if pass_.model else 0.0


def sae_bytes(cohort: Cohort | ExternalCohort) -> int:
    """The weights of one SAE, in bytes."""
    return 4 * (2 * cohort.n_latents * cohort.d_model + cohort.n_latents + cohort.d_model)


def hours(operations: float, tflops: float) -> float:
    """How long so many operations take at 10^12 `tflops` a second."""
    return operations / (tflops * 1e12) / 3600


def assignments(name: str, groups: list[tuple[int, int, int]], match_seconds: float) -> Cost:
    """The cost of matching groups of pairs of one shape, (n_latents, d_model, pairs).

    A pair takes two exact assignments, each `match_seconds` at 8,192 latents and growing with the square.
    """
    jobs = sum(len(batches(range(pairs), n, d)) for n, d, pairs in groups)
    written = sum(pairs * n * _MATCH_BYTES for n, _, pairs in groups)
    seconds = sum(pairs * 2 * match_seconds * (n / 8192) ** 2 for n, _, pairs in groups)
    return Cost(name, jobs, 0, written, written, cpu_hours=seconds / 3600)
